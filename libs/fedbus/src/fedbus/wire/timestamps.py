"""Timestamps of messages: RFC 3339 in UTC, to the millisecond. Pure."""

from datetime import UTC, datetime


def format_timestamp(seconds: float) -> str:
    """Format seconds since 1970 as `2026-11-29T08:53:28.120Z`."""
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def parse_timestamp(timestamp: str) -> float:
    """Return the seconds since 1970 of a timestamp."""
    return datetime.fromisoformat(timestamp).timestamp()
