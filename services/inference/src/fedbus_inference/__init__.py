"""The inference service answers requests with the newest version of a model."""
