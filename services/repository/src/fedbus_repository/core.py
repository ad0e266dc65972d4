"""Core of the repository: dispatch of requests to their handlers. Pure.

Only the store decides what has happened, so the process may be killed at any moment. A request that
cannot be served now, because the disk is full or a collector is gone, gets no answer; its sender
asks again.
"""

from collections.abc import Iterator
from typing import Any

from fedbus.core.actions import Action, AnnounceEncryptionKey, WakeAt
from fedbus.core.events import (
    Connected,
    Event,
    Fetched,
    FetchFailed,
    Local,
    Ran,
    Received,
    RunFailed,
    Woke,
)
from fedbus.core.interface import Core
from fedbus.wire.messages import (
    Commit,
    ListModels,
    LookUp,
    PushModel,
    RecordNoise,
    ShowModel,
    ShowPrivacy,
    TakeLease,
)
from fedbus_repository.handlers.catalog import ModelCatalog
from fedbus_repository.handlers.commits import CommitHandler
from fedbus_repository.handlers.job_records import JobRecordHandler, JobRecordRequest
from fedbus_repository.handlers.jobs import JobHandler, JobRequest
from fedbus_repository.handlers.leases import LeaseHandler
from fedbus_repository.handlers.ledgers import LedgerHandler
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.handlers.pushes import PushHandler
from fedbus_repository.handlers.trail import TrailHandler, TrailRequest
from fedbus_repository.keys import (
    AnnouncementTimer,
    NamedOverHttp,
    RequestRun,
    StoredOverHttp,
    UploadFetch,
)
from fedbus_repository.requests import RequestRunner
from fedbus_repository.stores.base import Store

ANNOUNCE_EVERY_SECONDS = 60.0


class RepositoryCore(Core):
    """The repository named `name`, on a store.

    With an `encryption_key`, the id of one, it accepts no versions of another key.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        *,
        lease_seconds: float = 15.0,
        encryption_key: str | None = None,
    ) -> None:
        self._requests = RequestRunner()
        self._catalog = ModelCatalog(name, store, self._requests)
        self._leases = LeaseHandler(store, self._requests, lease_seconds)
        specs = SpecReader(store, encryption_key)
        self._encryption_key = encryption_key
        self._jobs = JobHandler(store, self._requests, self._catalog, specs, lease_seconds)
        self._commits = CommitHandler(store, self._requests, self._catalog, specs)
        self._ledgers = LedgerHandler(store, self._requests)
        self._trail = TrailHandler(store, self._requests, self._catalog)
        self._job_records = JobRecordHandler(store, self._requests)
        self._pushes = PushHandler(store, self._requests, self._catalog, specs)

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Yield the actions that follow from an event."""
        match event:
            case Connected():
                self._leases.reconnected(now)
                if self._encryption_key is not None:
                    yield AnnounceEncryptionKey(self._encryption_key)
                yield from self._announce(now)
            case Woke(AnnouncementTimer()):
                yield from self._requests.check_trouble()
                yield from self._announce(now)
            case Received(sender, message):
                yield from self._received(sender, message, now)
            case Local(StoredOverHttp(version)):
                yield from self._catalog.stored(version)
            case Local(NamedOverHttp(named)):
                yield from self._catalog.named(named)
            case Ran(RequestRun() as key, result):
                yield from self._requests.ran(key, result)
            case RunFailed(RequestRun() as key, error):
                yield from self._requests.run_failed(key, error)
            case Fetched(UploadFetch() as key):
                yield from self._requests.fetched(key)
            case FetchFailed(UploadFetch() as key, reason):
                yield from self._requests.fetch_failed(key, reason)

    def _announce(self, now: float) -> Iterator[Action]:
        """Announce the latest version of every model, periodically: an announcement may be lost."""
        yield from self._catalog.announce_all()
        yield WakeAt(AnnouncementTimer(), now + ANNOUNCE_EVERY_SECONDS)

    def _received(self, sender: str, message: Any, now: float) -> Iterator[Action]:  # noqa: ANN401 - any message of the topic table
        match message:
            case TakeLease():
                yield from self._leases.take(sender, message, now)
            case _ if isinstance(message, JobRequest):
                yield from self._jobs.handle(sender, message)
            case _ if isinstance(message, JobRecordRequest):
                yield from self._job_records.handle(sender, message)
            case Commit():
                yield from self._commits.commit(sender, message)
            case RecordNoise():
                yield from self._ledgers.record_noise(sender, message)
            case ShowPrivacy():
                yield from self._ledgers.show_privacy(sender, message)
            case LookUp():
                yield from self._commits.look_up(sender, message)
            case PushModel():
                yield from self._pushes.push(sender, message)
            case ListModels() | ShowModel():
                yield from self._catalog.handle(sender, message)
            case _ if isinstance(message, TrailRequest):
                yield from self._trail.handle(sender, message)
