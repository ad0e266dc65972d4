"""One file per framework, the only one that imports it; loaded by name, see `plugins.py`."""
