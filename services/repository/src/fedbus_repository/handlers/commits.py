"""Commits of rounds: checked, their blobs fetched, then inserted by one call.

The class decides and performs no I/O; the functions at the end run in a thread.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from fedbus.core.actions import Action, Note, Send
from fedbus.errors import LayoutError, TransferError
from fedbus.wire.messages import Commit, CommitRefused, Committed, LookedUp, LookUp
from fedbus_repository.handlers.catalog import ModelCatalog
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.handlers.uploads import discard, reserve
from fedbus_repository.keys import RequestRun
from fedbus_repository.requests import Call, FetchUploads, RequestRunner, RequestSteps
from fedbus_repository.stores.base import Store, Upload
from fedbus_repository.stores.records import HistoryEntry, StoreRefusal, blobs_of


class CommitHandler:
    """Handles the requests of collectors."""

    def __init__(
        self, store: Store, requests: RequestRunner, catalog: ModelCatalog, specs: SpecReader
    ) -> None:
        self._store, self._requests, self._catalog, self._specs = store, requests, catalog, specs

    def commit(self, sender: str, message: Commit) -> Iterator[Action]:
        """Commit a round or refuse it; the second commit of a round gets the first one's answer."""
        key = RequestRun.of(message, sender, message.record.job, message.record.round)
        yield from self._requests.start(key, message, self._commit(sender, message))

    def look_up(self, sender: str, message: LookUp) -> Iterator[Action]:
        """Answer what became of an update."""
        key = RequestRun.of(message, sender, message.job, message.agent, message.task)
        yield from self._requests.start(key, message, self._look_up(sender, message))

    def _commit(self, sender: str, message: Commit) -> RequestSteps:
        answer = yield Call(partial(prepare_commit, self._store, self._specs, message))
        if not isinstance(answer, HistoryEntry | StoreRefusal):
            try:
                yield FetchUploads(answer)
            except TransferError:
                yield Call(partial(discard, answer))
                return ()  # the collector asks again, if it is alive
            answer = yield Call(partial(finish_commit, self._store, self._specs, message, answer))
        record = message.record
        if isinstance(answer, StoreRefusal):
            refused = CommitRefused(
                job=record.job, round=record.round, task=record.task, reason=answer.reason
            )
            facts = {"job": record.job, "round": record.round, "reason": answer.reason}
            return Note("commit_refused", facts), Send(sender, refused)
        committed = Committed(version=self._catalog.ref(answer.version), record=answer.record)
        return Send(sender, committed), *self._catalog.stored(answer.version)

    def _look_up(self, sender: str, message: LookUp) -> RequestSteps:
        job, agent, task = message.job, message.agent, message.task
        verdict = yield Call(partial(self._store.look_up, job, agent, task))
        return (Send(sender, LookedUp(job=job, agent=agent, task=task, verdict=verdict)),)


def prepare_commit(
    store: Store, specs: SpecReader, message: Commit
) -> HistoryEntry | StoreRefusal | Sequence[Upload]:
    """Return the answer to a commit, or the uploads that it needs first."""
    record, weights = message.record, message.weights
    answer = store.check_commit(record)
    if answer is not None:
        return answer
    try:
        specs.check_sizes(weights, record)
    except LayoutError as error:
        return StoreRefusal(str(error))
    return reserve(store, blobs_of(weights, record))


def finish_commit(
    store: Store, specs: SpecReader, message: Commit, uploads: Sequence[Upload]
) -> HistoryEntry | StoreRefusal:
    """Verify and keep the blobs of the round, and insert it."""
    record, weights = message.record, message.weights
    answer: HistoryEntry | StoreRefusal
    try:
        specs.check_round(weights, record, store.planned(record.job), uploads)
        for upload in uploads:
            upload.keep()
        answer = store.commit(record, weights)
    except (LayoutError, TransferError) as error:
        answer = StoreRefusal(str(error))
    finally:
        discard(uploads)
    blobs = blobs_of(weights, record)
    if isinstance(answer, StoreRefusal) or answer.version.blobs != blobs:
        store.delete_unreferenced(blobs)
    return answer
