"""Embedded store on SQLite."""
