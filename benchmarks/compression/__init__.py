"""Accuracy and bytes of rounds with compressed updates and versions."""
