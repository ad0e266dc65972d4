"""Correlation keys: they connect an event to the action that it answers.

Each service defines its keys in its `keys.py`, one class for each kind of action. A core matches
them by class (`case Woke(RoundDeadline(job, task))`), so a mistyped key or a missing field fails
the type check.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """Base class of all correlation keys; a subclass that adds fields is a frozen dataclass.

    Two keys are equal if they are of one class and all their fields are equal.
    """

    @property
    def name(self) -> str:
        """Return the name of steps with this key in fault tests and logs."""
        return type(self).__name__
