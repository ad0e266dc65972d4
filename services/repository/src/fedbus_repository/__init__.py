"""Repository: storage of jobs, rounds, models and their versions."""
