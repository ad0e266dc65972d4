"""Standalone jobs: trainings that a user starts at one agent, without a controller."""
