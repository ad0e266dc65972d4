"""Interface between the core and what trains and evaluates: models in, results out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from fedbus.blobs.files import FileBlob
from fedbus.digest import digest_of
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Layout
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.messages import EvaluateTask, Offer, TrainTask
from fedbus.wire.strategies import NO_FACTS, TrainingFacts
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.checks import checked_metrics
from fedbus_edge_agent.training.outbox import Outbox, StoredOffer


@dataclass(frozen=True, slots=True)
class Model:
    """A model without weights: its spec, its layout, and the spec's files by digest.

    `anchor` is the plain blob that an encrypted version of it has its distances from.
    """

    spec: ModelSpec
    layout: Layout
    files: dict[str, bytes]
    anchor: Blob | None = None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """An update in the outbox: `source` is its file, to be served.

    `inline` has its bytes, if they are few enough to be part of the offer.
    """

    stored: StoredOffer
    source: FileBlob
    inline: bytes | None

    @property
    def keeps_state(self) -> bool:
        """Whether the task left a state of its objective or a residual, for the receipt."""
        return bool(self.stored.kept)


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Metrics of a version on this agent's data."""

    examples: int
    metrics: dict[str, float]
    energy: EnergyUsed | None = None


@dataclass(frozen=True, slots=True)
class StrategyBlobs:
    """What a task names of its job's strategy, as it was fetched.

    Attributes:
        state: The blob of the strategy's arrays; None: they are zeros.
        frozen: The bits of the numbers that keep the base's value; None: there are none.
    """

    state: Blob | None = None
    frozen: Blob | None = None


NO_STRATEGY_BLOBS: Final = StrategyBlobs()


class TaskRunner(Protocol):
    """Performs tasks; called in the training thread.

    Both methods raise `FedbusError` if the task fails and `Stopped` if it was cancelled.
    """

    def train(
        self,
        task: TrainTask,
        model: Model,
        base: Blob,
        control: TaskControl,
        strategy: StrategyBlobs = NO_STRATEGY_BLOBS,
    ) -> TrainingResult:
        """Train from the base version and store the update in the outbox.

        `base` is its thin blob if the task names one.
        """

    def evaluate(
        self, task: EvaluateTask, model: Model, weights: Blob, control: TaskControl
    ) -> EvaluationResult:
        """Compute the metrics of a version."""


def store_update(  # noqa: PLR0913, PLR0917 - the parts of an offer
    outbox: Outbox,
    task: TrainTask,
    update: Blob,
    examples: int,
    metrics: Mapping[str, float],
    facts: TrainingFacts = NO_FACTS,
    *,
    kept: tuple[str, ...] = (),
    ranges: tuple[int, ...] = (),
    energy: EnergyUsed | None = None,
) -> TrainingResult:
    """Write an update and its offer to the outbox; `kept` was written before.

    A private or masked update is written so that a power cut does not undo it: the same bytes must
    be offered again, and not those of another training, with other noise or the same masks.

    Raises:
        FedbusError: The offer is not a valid message, or the disk is full.
    """
    size = memoryview(update).nbytes
    offer = Offer(
        job=task.job,
        round=task.round,
        task=task.task,
        base=task.base.version,
        update=BlobRef(digest=digest_of(update), size=size),
        examples=int(examples),
        metrics=checked_metrics(metrics),
        facts=facts,
        ranges=ranges,
        energy=energy,
    )
    codec.unpack(Offer, codec.pack(offer))  # a trainer may have returned a negative count
    stored = StoredOffer(collector=task.collector, offer=offer, kept=kept)
    inline = bytes(update) if size <= task.inline_up_to else None
    durable = bool(kept) or task.privacy is not None or task.masking is not None
    source = outbox.save(stored, update, durable=durable)
    return TrainingResult(stored, source, inline)
