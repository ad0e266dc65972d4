"""The repository keeps the truth: jobs, rounds, models and their versions."""
