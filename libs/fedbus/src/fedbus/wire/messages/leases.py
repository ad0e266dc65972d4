"""Messages about the lease that allows one controller to act."""

from dataclasses import dataclass

from fedbus.scalars import Number, Whole
from fedbus.wire.identifiers import NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeLease:
    """Grant the lease to the sender; `incarnation` distinguishes restarts of one controller."""

    incarnation: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseGranted:
    """The receiver may act for `seconds`, with this `epoch` in its messages."""

    epoch: Whole
    seconds: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseHeld:
    """Another controller holds the lease; ask again after `seconds`."""

    holder: NodeName
    seconds: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleEpoch:
    """A newer lease holds, with this `epoch`: the receiver must stop acting."""

    epoch: Whole
