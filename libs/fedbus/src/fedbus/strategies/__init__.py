"""Strategies: selection of a round's cohort, and aggregation of its updates."""
