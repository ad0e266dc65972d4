"""Traffic of a round: how many bytes its updates and its base version have had."""

from dataclasses import dataclass

from fedbus.scalars import Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTraffic:
    """Bytes of the blobs of a round: what a `transmitter` and a `download` save.

    Attributes:
        updates: Those of all contributors' updates together, as they were sent.
        version: Those of the base version, as each agent downloads it; the weights of a small one
            are sent whole inside the tasks.
        plain: Those of the base version's weights without `download`; an update without
            `transmitter` has about as many.
    """

    updates: Whole
    version: Whole
    plain: Whole
