"""Aggregation rules, one module each."""
