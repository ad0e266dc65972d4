"""The machine an agent runs on: capabilities, data changes, counters."""
