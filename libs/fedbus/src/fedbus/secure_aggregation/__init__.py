"""Secure aggregation: keys, shares and masks of a round whose sum alone can be read. Pure."""
