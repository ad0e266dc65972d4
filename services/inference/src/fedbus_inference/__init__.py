"""Inference service: predictions of the newest version of each model."""
