"""Vocabulary of cores and their shells: events, actions, keys, timers, retries."""
