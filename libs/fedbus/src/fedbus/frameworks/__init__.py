"""One package or module for each framework, its only importer; `plugins` loads it by name."""
