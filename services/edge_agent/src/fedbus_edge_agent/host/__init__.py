"""The machine that an agent runs on: capabilities, data changes, counters."""
