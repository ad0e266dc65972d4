"""Who leads: this controller, under an epoch and until a time, or another one. Pure."""

from collections.abc import Generator, Iterator

from fedbus.core.actions import Action, Ask, Cancel, WakeAt
from fedbus.wire.messages import LeaseGranted, TakeLease
from fedbus_controller.keys import LeaseRenewal, LeaseRequest


class Leadership:
    """The lease as this controller knows it.

    Attributes:
        epoch: Under which it leads; None: another controller leads, or nobody yet.
    """

    def __init__(self, incarnation: int, repository: str) -> None:
        self.epoch: int | None = None
        self._incarnation = incarnation
        self._repository = repository
        self._asked = 0.0
        self._until = 0.0
        self._highest = 0  # the highest epoch the repository has told
        self._led_until = 0.0  # by another controller, as far as we know

    def ask(self, now: float) -> Ask:
        """Ask for the lease, or for more of it."""
        self._asked = now
        return Ask(LeaseRequest(), self._repository, TakeLease(incarnation=self._incarnation))

    def is_over(self, now: float) -> bool:
        """Tell whether the time of the lease is up, or it was never granted."""
        return now >= self._until

    def is_led(self, now: float) -> bool:
        """Tell whether another controller leads."""
        return now < self._led_until

    def granted(self, granted: LeaseGranted, now: float) -> Generator[Action, None, bool]:
        """Take the lease in, and wake in time to renew it; False if the answer came too late."""
        if granted.epoch < self._highest:
            return False  # overtaken by a later answer
        self._highest = granted.epoch
        # Counted from the question: the repository has answered no earlier.
        self._until = self._asked + granted.seconds
        if now >= self._until:
            yield self.ask(now)
            return False
        yield Cancel(LeaseRequest())
        yield WakeAt(LeaseRenewal(), now + granted.seconds / 3)
        self._led_until = 0.0
        return True

    def wait(self, seconds: float, now: float) -> Iterator[Action]:
        """Ask again once the lease of the other controller may be over."""
        yield Cancel(LeaseRequest())
        yield WakeAt(LeaseRenewal(), now + seconds)

    def led_by_another(self, until: float) -> bool:
        """Note that another controller leads; tell whether it has renewed its lease since."""
        before, self._led_until = self._led_until, until
        return 0 < before < until

    def overtaken(self, epoch: int) -> bool:
        """Note the epoch that holds; tell whether it is news."""
        if epoch <= self._highest:
            return False
        self._highest = epoch
        return True
