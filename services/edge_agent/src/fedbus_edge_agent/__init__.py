"""The agent trains on data that never leaves its device."""
