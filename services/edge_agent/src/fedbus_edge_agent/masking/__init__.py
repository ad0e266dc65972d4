"""Masked rounds on an agent: its identity, the steps that it answers, the update that it masks."""
