"""Aggregation of updates, block by block."""
