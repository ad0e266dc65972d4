"""A request from its arrival to its answer: calls in a thread, blobs to bring. Pure.

An errand is a generator: it yields what must happen next, is sent what came of it, and returns what
to do at its end. So it reads from top to bottom, while the core that runs many of them never waits.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

from fedbus.core.actions import Action, Cancel, Fetch, Note, Run, Trouble
from fedbus.errors import StoreError, TransferError
from fedbus.wire.blobs import BlobLocation
from fedbus_repository.keys import RequestRun, UploadFetch
from fedbus_repository.stores.base import Upload

MAX_RUNNING_REQUESTS = 4096
"""Errands under way at once; who asks while there are more must ask again."""


@dataclass(frozen=True, slots=True)
class Call:
    """Do this in a thread; its result is sent in, its error thrown in."""

    do: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class FetchUploads:
    """Fetch these from whoever asks; TransferError is thrown in if one does not come."""

    uploads: Sequence[Upload]


T = TypeVar("T")
Steps: TypeAlias = Generator[Call | FetchUploads, Any, T]
RequestSteps: TypeAlias = Steps[Iterable[Action]]


class RequestSuperseded(TransferError):  # noqa: N818 - it says what happened, like Stopped
    """Whoever asked asks for something else now; nobody waits for an answer."""


@dataclass(slots=True)
class _RunningRequest:
    message: object
    errand: RequestSteps
    missing: set[str] = field(default_factory=set)


class RequestRunner:
    """All errands under way, one per key.

    The same request again waits for the first one's answer. Another under the same key ends a first
    that still brings blobs (its sender was restarted), and must itself be asked again.
    """

    def __init__(self) -> None:
        self._under_way: dict[RequestRun, _RunningRequest] = {}
        self._unstored: str | None = None  # the first kind of request that could not be stored
        self._lately = False  # whether one could not since the last look

    def start(self, key: RequestRun, message: object, errand: RequestSteps) -> Iterator[Action]:
        """Run an errand, unless one of this key is under way."""
        first = self._under_way.get(key)
        if first is not None:
            if first.missing and first.message != message:
                error = RequestSuperseded(f"{key.sender} was restarted, and asks for another")
                yield from self._lose(key, first, error)
        elif len(self._under_way) < MAX_RUNNING_REQUESTS:
            self._under_way[key] = _RunningRequest(message, errand)
            yield from self._go_on(key, partial(next, errand))

    def ran(self, key: RequestRun, result: object) -> Iterator[Action]:
        """A call returned."""
        yield from self._go_on(key, partial(self._under_way[key].errand.send, result))

    def failed(self, key: RequestRun, error: Exception) -> Iterator[Action]:
        """A call raised."""
        yield from self._go_on(key, partial(self._under_way[key].errand.throw, error))

    def fetched(self, key: UploadFetch) -> Iterator[Action]:
        """A blob is here."""
        under_way = self._under_way[key.request]
        under_way.missing.discard(key.digest)
        if not under_way.missing:
            yield from self._go_on(key.request, partial(next, under_way.errand))

    def not_fetched(self, key: UploadFetch, reason: str) -> Iterator[Action]:
        """A blob does not come: neither need the others."""
        under_way = self._under_way[key.request]
        under_way.missing.discard(key.digest)
        yield from self._lose(key.request, under_way, TransferError(reason))

    def _lose(
        self, key: RequestRun, under_way: _RunningRequest, error: TransferError
    ) -> Iterator[Action]:
        yield Note("fetch_failed", _facts(key, str(error)))
        for digest in sorted(under_way.missing):
            yield Cancel(UploadFetch(key, digest))
        under_way.missing.clear()
        yield from self._go_on(key, partial(under_way.errand.throw, error))

    def _go_on(self, key: RequestRun, step: Callable[[], Call | FetchUploads]) -> Iterator[Action]:
        under_way = self._under_way[key]
        try:
            wanted = step()
            while isinstance(wanted, FetchUploads) and not wanted.uploads:
                wanted = next(under_way.errand)
        except StopIteration as end:
            del self._under_way[key]
            if key.request == self._unstored:
                yield from self._mended()
            yield from end.value
        except Exception as error:  # noqa: BLE001 - whatever it was, whoever asked asks again
            del self._under_way[key]
            yield Note("request_failed", _facts(key, f"{type(error).__name__}: {error}"))
            if isinstance(error, StoreError):
                yield from self._not_stored(key.request, error)
        else:
            yield from self._want(key, under_way, wanted)

    def look(self) -> Iterator[Action]:
        """Take a trouble back, from time to time, that nobody has had since the last look."""
        if self._unstored is not None and not self._lately:
            yield from self._mended()
        self._lately = False

    def _not_stored(self, request: str, error: StoreError) -> Iterator[Action]:
        """Tell people: what is asked waits without a word to whoever asked, until there is room."""
        self._lately = True
        if self._unstored is None:
            self._unstored = request
            yield Trouble(f"it cannot store what it is asked to: {error}")

    def _mended(self) -> Iterator[Action]:
        self._unstored = None
        yield Trouble("")

    def _want(
        self, key: RequestRun, under_way: _RunningRequest, wanted: Call | FetchUploads
    ) -> Iterator[Action]:
        if isinstance(wanted, Call):
            yield Run(key, wanted.do)
            return
        under_way.missing = {upload.blob_ref.digest for upload in wanted.uploads}
        for upload in wanted.uploads:
            location = BlobLocation(blob_ref=upload.blob_ref, source=key.sender)
            yield Fetch(UploadFetch(key, upload.blob_ref.digest), location, upload)


def _facts(key: RequestRun, reason: str) -> dict[str, str]:
    return {"request": key.request, "of": key.sender, "reason": reason}
