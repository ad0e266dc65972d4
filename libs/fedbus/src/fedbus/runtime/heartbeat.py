"""Interval of heartbeats, unless FEDBUS_HEARTBEAT_SECONDS sets another. Pure."""

from typing import Final

HEARTBEAT_SECONDS: Final = 5.0
"""Between two heartbeats of a node; every node of a fleet must have the same interval."""
