"""A service as a process: its node, its shell, its settings."""
