"""Rounds of a collector: open ones and their inputs, updates and progress; ended ones."""
