"""Aggregation of updates, block by block: memory stays at about one model."""
