"""What tasks need before they can be worked on: fetched together, held once. Pure.

It creates the spools that blobs arrive in, and writes a small model that came with its task into
one, in the event loop.
"""

from collections.abc import Iterator
from contextlib import suppress

from fedbus.blobs.spool import Spools
from fedbus.core.actions import Action, Cancel, Fetch, WakeAt
from fedbus.core.events import Fetched, FetchFailed
from fedbus.errors import StoreError, TrainingError, TransferError
from fedbus.jobs.eligibility import input_reason
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus_edge_agent.keys import TaskInputFetch, TaskInputRetry
from fedbus_edge_agent.tasks.model_cache import CachedModels
from fedbus_edge_agent.tasks.task import Task

RETRY_SECONDS = 2.0
MAX_FAILURES = 10


class TaskInputs:
    """Brings a task's weights, its model's spec, and the files of the architecture it will use."""

    def __init__(self, models: CachedModels, spools: Spools) -> None:
        self.models = models
        self._spools = spools

    def unpack(self, ref: ModelRef, weights: bytes) -> None:
        """Take a small model that came with its task; the worker checks its digest."""
        if not self.models.holds(ref) and len(weights) == ref.weights.size:
            with suppress(StoreError):  # no room: to fetch it says so
                spool = self._spools.make(len(weights))
                spool.write(0, weights)
                self.models.put(ref, ref.weights, spool)

    def missing(self, task: Task) -> list[BlobRef]:
        """List what a task still needs, once it is known that it can be done here at all.

        Raises:
            FedbusError: the model's spec says that it cannot, and the sentence why.
        """
        spec = self.models.spec(task.ref)
        if spec is not None and not task.fits:
            if reason := input_reason(spec.input, task.form):
                raise TrainingError(reason)
            task.fits = True
        return self.models.missing(task.ref, task.order.trainer)

    def fetch(self, task: Task, missing: list[BlobRef]) -> Iterator[Action]:
        """Fetch what is missing and not yet on its way.

        Raises:
            StoreError: there is no room for it.
        """
        for blob_ref in missing:
            if blob_ref.digest not in task.fetching:
                sink = self._spools.make(blob_ref.size)
                task.fetching[blob_ref.digest] = blob_ref, sink
                location = task.ref.location(blob_ref)
                key = TaskInputFetch(task.key, blob_ref.digest)
                yield Fetch(key, location, sink, task.order.members)

    def arrived(
        self, task: Task, digest: str, event: Fetched | FetchFailed, now: float
    ) -> Iterator[Action]:
        """Take a blob that has come, or try again in a moment.

        Raises:
            FedbusError: it is of no use, or has failed to come too often.
        """
        blob_ref, spool = task.fetching.pop(digest)
        if isinstance(event, Fetched):
            self.models.put(task.ref, blob_ref, spool)
            return
        spool.close()
        task.failures += 1
        if task.failures >= MAX_FAILURES:
            raise TransferError(event.reason)
        task.pausing = True
        yield WakeAt(TaskInputRetry(task.key), now + RETRY_SECONDS)

    def stop(self, task: Task) -> Iterator[Action]:
        """Fetch nothing more for a task."""
        yield Cancel(TaskInputRetry(task.key))
        for digest, (_, spool) in task.fetching.items():
            yield Cancel(TaskInputFetch(task.key, digest))
            spool.close()
        task.fetching.clear()
