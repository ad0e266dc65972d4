"""Standalone jobs: training that a person starts at one agent, without a controller."""
