"""Who may act as the controller, and until when. Pure.

The store remembers who holds the lease and its epoch; how long, only this process knows, on its
monotonic clock. Whoever takes the lease over has waited until the holder could have renewed it.
"""

from collections.abc import Iterator
from functools import partial

from fedbus.core.actions import Action, Note, Send
from fedbus.wire.messages import LeaseGranted, LeaseHeld, TakeLease
from fedbus_repository.keys import RequestRun
from fedbus_repository.requests import Call, RequestRunner, RequestSteps
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.records import Lease


class LeaseHandler:
    """The lease, timed."""

    def __init__(self, store: Store, errands: RequestRunner, seconds: float) -> None:
        self._store, self._errands, self._seconds = store, errands, seconds
        self._lease: Lease | None = None
        self._until = 0.0

    def reconnected(self, now: float) -> None:
        """Give the holder time: until now nobody could renew, or this process is new."""
        self._until = max(self._until, now + self._seconds)

    def take(self, sender: str, message: TakeLease, now: float) -> Iterator[Action]:
        """Grant it, renew it, or say who holds it."""
        lease = self._lease
        if lease is not None and lease.holder != sender and now < self._until:
            yield self._held(sender, lease, now)
        else:
            key = RequestRun.of(message, sender, message.incarnation)
            yield from self._errands.start(key, message, self._take(sender, message, now))

    def _take(self, sender: str, message: TakeLease, now: float) -> RequestSteps:
        known = self._lease
        expired = known.epoch if known is not None and now >= self._until else None
        take = partial(self._store.take_lease, sender, message.incarnation, expired=expired)
        lease: Lease = yield Call(take)
        if self._lease is None or lease.epoch >= self._lease.epoch:
            self._lease = lease
        if (lease.holder, lease.incarnation) != (sender, message.incarnation):
            return (self._held(sender, lease, now),)
        self._until = max(self._until, now + self._seconds)
        granted = Send(sender, LeaseGranted(epoch=lease.epoch, seconds=self._seconds))
        if known is not None and known.epoch == lease.epoch:
            return (granted,)
        return (Note("lease_granted", {"holder": sender, "epoch": lease.epoch}), granted)

    def _held(self, sender: str, lease: Lease, now: float) -> Send:
        left = max(0.0, self._until - now)
        return Send(sender, LeaseHeld(holder=lease.holder, seconds=left))
