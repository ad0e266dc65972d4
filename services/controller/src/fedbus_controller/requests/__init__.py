"""Requests of users: held, parsed, decided and answered."""
