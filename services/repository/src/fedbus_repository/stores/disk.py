"""Fault injection of the embedded store."""

from collections.abc import Callable
from typing import TypeAlias

OnStep: TypeAlias = Callable[[str], None]
"""Called before each step on the disk; a fault test kills the process in it, or raises OSError."""
