"""Rounds of a job: planning, the running round, and the evaluation of its version."""
