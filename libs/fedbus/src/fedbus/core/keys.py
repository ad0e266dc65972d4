"""Correlation keys: they connect an event to the action that it answers.

Each service defines its keys in its `keys.py`, one frozen, slotted dataclass for each kind of
action. A core matches them by class (`case Woke(RoundDeadline(job, task))`), so a mistyped key or a
missing field fails the type check.
"""


class Key:
    """Base class of all correlation keys; a subclass is a frozen, slotted dataclass.

    Two keys are equal if they are of one class and all their fields are equal.
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        """Return the name of steps with this key in fault tests and logs."""
        return type(self).__name__
