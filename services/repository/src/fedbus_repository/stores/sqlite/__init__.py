"""The embedded store: records in SQLite."""
