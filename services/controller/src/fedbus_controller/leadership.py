"""Leadership of this controller or another one, by the lease of the repository. Pure."""

from collections.abc import Generator, Iterator

from fedbus.core.actions import Action, Ask, Cancel, WakeAt
from fedbus.wire.messages import LeaseGranted, TakeLease
from fedbus_controller.keys import LeaseRenewal, LeaseRequest


class Leadership:
    """The lease as this controller knows it; `epoch` is None while it does not lead."""

    def __init__(self, incarnation: int, repository: str) -> None:
        self.epoch: int | None = None
        self._incarnation = incarnation
        self._repository = repository
        self._asked_at = 0.0
        self._until = 0.0
        self._highest = 0  # the highest epoch that the repository has sent
        self._other_leads_until = 0.0  # as far as this controller knows

    def ask(self, now: float) -> Ask:
        """Ask the repository to grant or extend the lease."""
        self._asked_at = now
        return Ask(LeaseRequest(), self._repository, TakeLease(incarnation=self._incarnation))

    def has_expired(self, now: float) -> bool:
        """Return whether the lease has expired, or was never granted."""
        return now >= self._until

    def another_leads(self, now: float) -> bool:
        """Return whether another controller leads."""
        return now < self._other_leads_until

    def granted(self, granted: LeaseGranted, now: float) -> Generator[Action, None, bool]:
        """Note a granted lease, and wake to renew it; False if the answer came too late."""
        if granted.epoch < self._highest:
            return False  # a later answer has arrived before
        self._highest = granted.epoch
        # Counted from the request: the repository cannot have answered before it.
        self._until = self._asked_at + granted.seconds
        if now >= self._until:
            yield self.ask(now)
            return False
        yield Cancel(LeaseRequest())
        yield WakeAt(LeaseRenewal(), now + granted.seconds / 3)
        self._other_leads_until = 0.0
        return True

    def wait(self, seconds: float, now: float) -> Iterator[Action]:
        """Ask again when the other controller's lease may have expired."""
        yield Cancel(LeaseRequest())
        yield WakeAt(LeaseRenewal(), now + seconds)

    def other_renewed(self, until: float) -> bool:
        """Note another controller's lease; return whether that controller has renewed it."""
        before, self._other_leads_until = self._other_leads_until, until
        return 0 < before < until

    def is_overtaken(self, epoch: int) -> bool:
        """Note an epoch; return whether it is higher than all before."""
        if epoch <= self._highest:
            return False
        self._highest = epoch
        return True
