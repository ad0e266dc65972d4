"""Privacy mechanisms: update transforms that bound an update, and add noise at one side."""
