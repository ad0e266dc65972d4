"""Schemas of the agent's HTTP API, from which `/openapi.json` and `/docs` are generated."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fedbus.limits import MAX_STRUCTURES, MAX_TENSORS
from fedbus.scalars import Bounds, Flag, Ident, Number, Text, Whole
from fedbus.wire.documents import ModelSpec, TensorSpec
from fedbus.wire.identifiers import Metrics

JobPhase = Literal["WAITING", "TRAINING", "FINISHED", "INTERRUPTED", "FAILED"]
FINAL_PHASES: frozenset[JobPhase] = frozenset({"FINISHED", "INTERRUPTED", "FAILED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """State of a standalone job.

    Attributes:
        reason: Why the job ended.
        round: Number of rounds that are done.
        progress: Part of all rounds that is done, 0 to 1.
        metrics: Metrics of the last round, on the data that it trained on.
        rounds: Metrics of the last rounds, the newest at the end.
        weights: Path of the weights at this API; None before the first round is done.
        ignored: Keys of the job file that have no meaning for one agent alone.
    """

    training_id: Ident
    model_name: Ident
    model_version: Ident
    phase: JobPhase
    reason: Text = ""
    num_rounds: Whole
    round: Whole = 0
    progress: Number = 0.0
    examples: Whole = 0
    metrics: Metrics = field(default_factory=dict)
    rounds: Annotated[tuple[Metrics, ...], Bounds(max_length=1000)] = ()
    weights: Annotated[str, Bounds(max_length=256)] | None = None
    ignored: Annotated[tuple[Text, ...], Bounds(max_length=16)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata(ModelSpec):
    """A model's spec, as `fedbus models push` reads it, with the name of this version.

    The agent trains it, so it has a layout and an architecture.
    """

    model_version: Ident = "1"
    layout: Annotated[tuple[TensorSpec, ...], Bounds(min_length=1, max_length=MAX_TENSORS)]
    architectures: Annotated[
        dict[Ident, dict[str, Any]], Bounds(min_length=1, max_length=MAX_STRUCTURES)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """An uploaded model: the files that it still lacks, and whether it has weights."""

    model_name: Ident
    model_version: Ident
    missing: tuple[Text, ...]
    weights: Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Capabilities of this machine; `storage` and `RAM` are what is free, in GB."""

    storage: Number
    RAM: Number
    GPU: Flag
    preinstalled_libraries: dict[str, str]
    available_models: dict[str, str]
