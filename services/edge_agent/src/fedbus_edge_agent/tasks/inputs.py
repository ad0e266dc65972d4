"""Inputs of tasks: a version's weights, spec and files, its strategy's state, frozen bits. Pure.

Creates the spools that blobs are received into, and writes a small model that came with its task
into one, in the event loop.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from fedbus.blobs.spool import Spools
from fedbus.core.actions import Action, Cancel, Fetch, WakeAt
from fedbus.core.events import Fetched, FetchFailed
from fedbus.encryption.encrypted_blob import encrypted_bounds
from fedbus.errors import StoreError, TrainingError, TransferError
from fedbus.jobs.input_match import input_reason
from fedbus.model.blob_header import Blob, blob_size
from fedbus.model.frozen_bits import frozen_layout
from fedbus.model.layout import Layout
from fedbus.model.sections import state_layout
from fedbus.wire.blobs import BlobLocation, BlobRef, ModelRef
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.keys import TaskInputFetch, TaskInputRetry
from fedbus_edge_agent.mistnet.feature_inputs import FeatureInputs
from fedbus_edge_agent.tasks.model_cache import MAX_MODELS, CachedModels
from fedbus_edge_agent.tasks.newest_blobs import NewestBlobs
from fedbus_edge_agent.tasks.task import Task
from fedbus_edge_agent.training.task_runner import StrategyBlobs

RETRY_SECONDS = 2.0
MAX_FAILURES = 10


@dataclass(frozen=True, slots=True)
class TaskInputs:
    """Fetches what tasks need and the caches lack; states and frozen bits are those of each job."""

    models: CachedModels
    spools: Spools
    features: FeatureInputs
    states: NewestBlobs = field(default_factory=lambda: NewestBlobs(MAX_MODELS))
    frozen_bits: NewestBlobs = field(default_factory=lambda: NewestBlobs(MAX_MODELS))

    def unpack(self, ref: ModelRef, weights: bytes) -> None:
        """Cache weights that came inside a task; the training thread checks their digest."""
        wanted = ref.thin is None and not self.models.has_weights(ref)
        if wanted and len(weights) == ref.weights.size:
            with suppress(StoreError):  # the fetch of the weights will report the full disk
                spool = self.spools.make(len(weights))
                spool.write(0, weights)
                self.models.add(ref, ref.weights, spool)

    def missing(self, task: Task) -> list[BlobRef]:
        """Return the blobs that a task needs next.

        Raises:
            FedbusError: The model's spec has arrived, and shows that this agent cannot use it, or
                that the strategy's state is another model's.
        """
        message, spec = task.message, self.models.spec(task.ref)
        missing = self.models.missing(task.ref, message.trainer)
        if spec is None:
            return missing
        if not task.input_checked:
            on_features = isinstance(message, TrainTask) and message.feature_terms is not None
            if not on_features and (reason := input_reason(spec.input, task.data_format)):
                raise TrainingError(reason)
            if isinstance(message, TrainTask):
                layout = self.models.layout(task.ref)
                _check_sizes(message, layout)
                _check_encrypted_sizes(message, layout)
            task.input_checked = True
        if isinstance(message, TrainTask):
            missing += [
                blob
                for blob, cache in self._of_strategy(message)
                if not cache.has(message.job, blob)
            ]
            missing += self.features.missing(message)
        return missing

    def _of_strategy(self, message: TrainTask) -> Iterator[tuple[BlobRef, NewestBlobs]]:
        """Yield the blobs that the strategy has for a task, and where they are cached."""
        if message.state is not None:
            yield message.state, self.states
        if message.frozen is not None:
            yield message.frozen, self.frozen_bits

    def state(self, message: TrainTask) -> Blob | None:
        """Return a lease on the strategy's state, which is here; None: its arrays are zeros.

        Raises:
            StoreError: It cannot be read, because the disk was full.
        """
        return None if message.state is None else self.states.read(message.job)

    def of_strategy(self, message: TrainTask) -> StrategyBlobs:
        """Return leases on what a task names of its strategy, which is here; raises as `state`."""
        frozen = None if message.frozen is None else self.frozen_bits.read(message.job)
        return StrategyBlobs(self.state(message), frozen)

    def drop(self, task: Task) -> None:
        """Drop the blobs of a task that failed: they may be damaged."""
        self.models.drop_weights(task.ref)
        if isinstance(task.message, TrainTask):
            self.states.drop(task.message.job)
            self.frozen_bits.drop(task.message.job)

    def fetch(self, task: Task, missing: list[BlobRef]) -> Iterator[Action]:
        """Fetch the missing blobs without a download; raise StoreError if one has no room."""
        for blob_ref in missing:
            if blob_ref.digest not in task.downloads:
                sink = self.spools.make(blob_ref.size)
                task.downloads[blob_ref.digest] = blob_ref, sink
                features = self._features(task, blob_ref)
                location = features or task.ref.location(blob_ref)
                members = 0 if features else task.message.members
                yield Fetch(TaskInputFetch(task.key, blob_ref.digest), location, sink, members)

    def fetch_ended(
        self, task: Task, digest: str, event: Fetched | FetchFailed, now: float
    ) -> Iterator[Action]:
        """Cache a blob that has arrived, or schedule another attempt.

        Raises:
            FedbusError: The blob cannot be used, or too many downloads failed.
        """
        blob_ref, spool = task.downloads.pop(digest)
        if isinstance(event, Fetched):
            message = task.message
            kept = dict(self._of_strategy(message)) if isinstance(message, TrainTask) else {}
            if (cache := kept.get(blob_ref)) is not None:
                cache.add(message.job, blob_ref, spool)
            elif self._features(task, blob_ref):
                self.features.add(blob_ref, spool)
            else:
                self.models.add(task.ref, blob_ref, spool)
            return
        spool.close()
        task.failures += 1
        if task.failures >= MAX_FAILURES:
            raise TransferError(event.reason)
        task.paused = True
        yield WakeAt(TaskInputRetry(task.key), now + RETRY_SECONDS)

    def stop(self, task: Task) -> Iterator[Action]:
        """Cancel all downloads of a task."""
        yield Cancel(TaskInputRetry(task.key))
        for digest, (_, spool) in task.downloads.items():
            yield Cancel(TaskInputFetch(task.key, digest))
            spool.close()
        task.downloads.clear()
        if isinstance(task.message, TrainTask):
            self.features.drop(task.message)

    def _features(self, task: Task, blob_ref: BlobRef) -> BlobLocation | None:
        message = task.message
        return self.features.location(message, blob_ref) if isinstance(message, TrainTask) else None


def _check_sizes(message: TrainTask, layout: Layout) -> None:
    """Compare sizes of the strategy's blobs with their layouts, before any memory is for them."""
    if message.state is not None:
        _check_size("state has", message.state, state_layout(layout, message.state_names))
    if message.frozen is not None:
        _check_size("frozen bits have", message.frozen, frozen_layout(layout))


def _check_size(what: str, blob: BlobRef, layout: Layout) -> None:
    expected = blob_size(layout, "plain")
    if blob.size != expected:
        raise TrainingError(
            f"the strategy's {what} {blob.size} bytes; {expected} belong to this model"
        )


def _check_encrypted_sizes(message: TrainTask, layout: Layout) -> None:
    """Compare the sizes of an encrypted base and of its anchor with what the layout makes."""
    terms, encryption = message.encryption, message.base.encryption
    if terms is None or encryption is None:
        return
    size, bounds = message.base.weights.size, encrypted_bounds(terms, layout)
    if not bounds.least <= size <= bounds.most:
        raise TrainingError(
            f"the encrypted base has {size} bytes; {bounds.text} belong to this model"
        )
    size, expected = encryption.anchor_weights.size, blob_size(layout, "plain")
    if size != expected:
        raise TrainingError(f"the anchor has {size} bytes; {expected} belong to this model")
