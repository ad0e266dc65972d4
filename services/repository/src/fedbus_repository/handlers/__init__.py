"""Handlers of the requests that services and users send."""
