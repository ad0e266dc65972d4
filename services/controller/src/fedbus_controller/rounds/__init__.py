"""Rounds of a job: planning, agents and collector at work, evaluation of the version."""
