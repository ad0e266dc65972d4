"""Requests in progress: their steps, their calls in threads, their uploads. Pure.

The steps of a request are a generator: it yields what must happen next, receives the result, and
returns the actions that end the request. So its code reads from top to bottom, although the core
never waits.
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
"""Requests in progress; further ones are ignored, and their senders ask again."""


@dataclass(frozen=True, slots=True)
class Call:
    """A step that runs in a thread; the generator receives its result or its error."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class FetchUploads:
    """A step that fetches blobs from the sender; TransferError is raised if one does not arrive."""

    uploads: Sequence[Upload]


T = TypeVar("T")
Steps: TypeAlias = Generator[Call | FetchUploads, Any, T]
RequestSteps: TypeAlias = Steps[Iterable[Action]]


class RequestSuperseded(TransferError):  # noqa: N818 - it names what happened, like Stopped
    """The sender has sent another request under the same key, and no longer needs the answer."""


@dataclass(slots=True)
class _RunningRequest:
    message: object
    steps: RequestSteps
    missing: set[str] = field(default_factory=set)  # digests of uploads that have not arrived


class RequestRunner:
    """All requests in progress, one for each key.

    A repeated request waits for the answer to the first. A different request under the same key
    ends a first one that still fetches uploads (its sender was restarted), and must itself be sent
    again.
    """

    def __init__(self) -> None:
        self._running: dict[RequestRun, _RunningRequest] = {}
        self._not_stored: str | None = None  # the first kind of request that could not be stored
        self._failed_since_check = False
        self._damage = ""

    def start(self, key: RequestRun, message: object, steps: RequestSteps) -> Iterator[Action]:
        """Start a request, unless one of this key is in progress."""
        first = self._running.get(key)
        if first is not None:
            if first.missing and first.message != message:
                error = RequestSuperseded(f"{key.sender} restarted and sent another request")
                yield from self._abort_fetch(key, first, error)
        elif len(self._running) < MAX_RUNNING_REQUESTS:
            self._running[key] = _RunningRequest(message, steps)
            yield from self._advance(key, partial(next, steps))

    def ran(self, key: RequestRun, result: object) -> Iterator[Action]:
        """Continue with the result of a call."""
        yield from self._advance(key, partial(self._running[key].steps.send, result))

    def run_failed(self, key: RequestRun, error: Exception) -> Iterator[Action]:
        """Continue with the error of a call."""
        yield from self._advance(key, partial(self._running[key].steps.throw, error))

    def fetched(self, key: UploadFetch) -> Iterator[Action]:
        """Continue if this was the last missing upload."""
        request = self._running[key.request]
        request.missing.discard(key.digest)
        if not request.missing:
            yield from self._advance(key.request, partial(next, request.steps))

    def fetch_failed(self, key: UploadFetch, reason: str) -> Iterator[Action]:
        """Cancel the other uploads and continue with a TransferError."""
        request = self._running[key.request]
        request.missing.discard(key.digest)
        yield from self._abort_fetch(key.request, request, TransferError(reason))

    def check_trouble(self) -> Iterator[Action]:
        """Withdraw the trouble if every request since the last check was stored."""
        if self._not_stored is not None and not self._failed_since_check:
            yield from self._withdraw_trouble()
        self._failed_since_check = False

    def report_damage(self, sentence: str) -> Iterator[Action]:
        """Report a damaged record, unless requests cannot be stored; empty: there is none now."""
        if sentence != self._damage:
            self._damage = sentence
            if self._not_stored is None:
                yield Trouble(sentence)

    def _abort_fetch(
        self, key: RequestRun, request: _RunningRequest, error: TransferError
    ) -> Iterator[Action]:
        yield Note("fetch_failed", _facts(key, str(error)))
        for digest in sorted(request.missing):
            yield Cancel(UploadFetch(key, digest))
        request.missing.clear()
        yield from self._advance(key, partial(request.steps.throw, error))

    def _advance(
        self, key: RequestRun, resume: Callable[[], Call | FetchUploads]
    ) -> Iterator[Action]:
        request = self._running[key]
        try:
            step = resume()
            while isinstance(step, FetchUploads) and not step.uploads:
                step = next(request.steps)
        except StopIteration as end:
            del self._running[key]
            if key.request == self._not_stored:
                yield from self._withdraw_trouble()
            yield from end.value
        except Exception as error:  # noqa: BLE001 - after any error the sender asks again
            del self._running[key]
            yield Note("request_failed", _facts(key, f"{type(error).__name__}: {error}"))
            if isinstance(error, StoreError):
                yield from self._report_trouble(key.request, error)
        else:
            yield from self._perform(key, request, step)

    def _perform(
        self, key: RequestRun, request: _RunningRequest, step: Call | FetchUploads
    ) -> Iterator[Action]:
        if isinstance(step, Call):
            yield Run(key, step.function)
            return
        request.missing = {upload.blob_ref.digest for upload in step.uploads}
        for upload in step.uploads:
            location = BlobLocation(blob_ref=upload.blob_ref, source=key.sender)
            yield Fetch(UploadFetch(key, upload.blob_ref.digest), location, upload)

    def _report_trouble(self, request: str, error: StoreError) -> Iterator[Action]:
        """Report that requests cannot be stored: their senders get no answer until they can."""
        self._failed_since_check = True
        if self._not_stored is None:
            self._not_stored = request
            yield Trouble(f"the repository cannot store requests: {error}")

    def _withdraw_trouble(self) -> Iterator[Action]:
        self._not_stored = None
        yield Trouble(self._damage)


def _facts(key: RequestRun, reason: str) -> dict[str, str]:
    return {"request": key.request, "of": key.sender, "reason": reason}
