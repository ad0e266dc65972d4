"""Lease of the acting controller. Pure.

The store keeps the holder and the epoch; only this process knows the time of expiry, on its
monotonic clock. Another controller gets the lease once the holder's time to renew it has passed.
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
    """Grants, renews and refuses the lease."""

    def __init__(self, store: Store, requests: RequestRunner, seconds: float) -> None:
        self._store, self._requests, self._seconds = store, requests, seconds
        self._lease: Lease | None = None
        self._until = 0.0

    def reconnected(self, now: float) -> None:
        """Extend the lease after a reconnect or a restart: the holder could not renew it before."""
        self._until = max(self._until, now + self._seconds)

    def take(self, sender: str, message: TakeLease, now: float) -> Iterator[Action]:
        """Grant or renew the lease, or answer with its holder."""
        lease = self._lease
        if lease is not None and lease.holder != sender and now < self._until:
            yield self._held(sender, lease, now)
        else:
            key = RequestRun.of(message, sender, message.incarnation)
            yield from self._requests.start(key, message, self._take(sender, message, now))

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
