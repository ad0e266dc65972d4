"""Handlers of the requests that services and people send."""
