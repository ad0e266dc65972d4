"""Correlation keys: what an event answers, as a class of its own for each kind of action.

Each service lists its keys in its `keys.py`, as frozen, slotted dataclasses. A core matches them by
class (`case Woke(RoundDeadline(job, task))`), so a mistyped key or a missing field fails the type
check.
"""


class Key:
    """Base class of all correlation keys; a subclass is a frozen, slotted dataclass.

    Two keys are equal if they are of one class and all their fields are equal.
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        """Return the name under which fault tests and logs know steps of this key."""
        return type(self).__name__
