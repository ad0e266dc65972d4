"""A round on its way to being true: weighed, its weights fetched, then inserted by one call.

The class decides and is pure; the functions at the end run in a thread.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

from fedbus.core.actions import Action, Note, Send
from fedbus.errors import LayoutError, TransferError
from fedbus.wire.blobs import BlobRef
from fedbus.wire.messages import Commit, CommitRefused, Committed, LookedUp, LookUp
from fedbus_repository.handlers.catalog import ModelCatalog
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.keys import RequestRun
from fedbus_repository.requests import Call, FetchUploads, RequestRunner, RequestSteps
from fedbus_repository.stores.base import Store, Upload
from fedbus_repository.stores.records import HistoryEntry, StoreRefusal


class CommitHandler:
    """The desk for collectors."""

    def __init__(
        self, store: Store, errands: RequestRunner, catalog: ModelCatalog, specs: SpecReader
    ) -> None:
        self._store, self._errands, self._catalog, self._specs = store, errands, catalog, specs

    def commit(self, sender: str, message: Commit) -> Iterator[Action]:
        """Make a round true, or say why not; the second one of a round gets the first's answer."""
        key = RequestRun.of(message, sender, message.record.job, message.record.round)
        yield from self._errands.start(key, message, self._commit(sender, message))

    def look_up(self, sender: str, message: LookUp) -> Iterator[Action]:
        """Say what became of an update."""
        key = RequestRun.of(message, sender, message.job, message.agent, message.task)
        yield from self._errands.start(key, message, self._look_up(sender, message))

    def _commit(self, sender: str, message: Commit) -> RequestSteps:
        answer = yield Call(partial(check_commit, self._store, message))
        if not isinstance(answer, HistoryEntry | StoreRefusal):
            try:
                yield FetchUploads(answer)
            except TransferError:
                yield Call(partial(discard, answer))
                return ()  # its collector asks again, if it lives
            answer = yield Call(partial(finish, self._store, self._specs, message, answer))
        record = message.record
        if isinstance(answer, StoreRefusal):
            refused = CommitRefused(
                job=record.job, round=record.round, task=record.task, reason=answer.reason
            )
            facts = {"job": record.job, "round": record.round, "reason": answer.reason}
            return Note("commit_refused", facts), Send(sender, refused)
        committed = Committed(version=self._catalog.ref(answer.version), record=answer.record)
        return Send(sender, committed), *self._catalog.made(answer.version)

    def _look_up(self, sender: str, message: LookUp) -> RequestSteps:
        job, agent, task = message.job, message.agent, message.task
        verdict = yield Call(partial(self._store.look_up, job, agent, task))
        return (Send(sender, LookedUp(job=job, agent=agent, task=task, verdict=verdict)),)


# ── in a thread ───────────────────────────────────────────────────────────────────────────────────


def check_commit(store: Store, message: Commit) -> HistoryEntry | StoreRefusal | Sequence[Upload]:
    """Answer a commit at once, or say what must be fetched for it."""
    answer = store.check_commit(message.record, message.weights)
    return reserve(store, (message.weights,)) if answer is None else answer


def finish(
    store: Store, specs: SpecReader, message: Commit, uploads: Sequence[Upload]
) -> HistoryEntry | StoreRefusal:
    """Verify and keep the weights, and make the round true."""
    try:
        specs.check(message.weights, specs.layout(message.record.spec), uploads)
        keep(uploads)
        answer = store.commit(message.record, message.weights)
    except (LayoutError, TransferError) as error:
        answer = StoreRefusal(str(error))
    finally:
        discard(uploads)
    if isinstance(answer, StoreRefusal) or answer.version.weights != message.weights:
        store.delete_unreferenced((message.weights,))
    return answer


def reserve(store: Store, blobs: Sequence[BlobRef]) -> Sequence[Upload]:
    """Make room for those blobs that are not here already, or for none."""
    uploads: list[Upload] = []
    try:
        uploads.extend(store.upload(blob) for blob in dict.fromkeys(blobs) if not store.holds(blob))
    except BaseException:
        discard(uploads)
        raise
    return uploads


def keep(uploads: Sequence[Upload]) -> None:
    """Keep all of them."""
    for upload in uploads:
        upload.keep()


def discard(uploads: Sequence[Upload]) -> None:
    """Forget those that are not kept."""
    for upload in uploads:
        with suppress(OSError):
            upload.discard()
