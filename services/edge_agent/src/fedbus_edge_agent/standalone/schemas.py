"""What the agent's HTTP doors say and take, field by field: the pages of `/docs` come from here."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fedbus.limits import MAX_STRUCTURES, MAX_TENSORS
from fedbus.scalars import Bounds, Flag, Ident, Number, Text, Whole
from fedbus.wire.documents import JobFault, TensorSpec
from fedbus.wire.identifiers import Metrics

JobPhase = Literal["WAITING", "TRAINING", "FINISHED", "INTERRUPTED", "FAILED"]
FINAL_PHASES: frozenset[JobPhase] = frozenset({"FINISHED", "INTERRUPTED", "FAILED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """How a standalone job stands: its rounds so far, and the metrics of the last one.

    `ignored` are keys of its file that mean something only among several agents.
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
class ModelMetadata:
    """A model's spec, as `fedbus models push` reads it, and the label of this version."""

    model: Ident
    model_version: Ident = "1"
    layout: Annotated[tuple[TensorSpec, ...], Bounds(min_length=1, max_length=MAX_TENSORS)]
    architectures: Annotated[
        dict[Ident, dict[str, Any]], Bounds(min_length=1, max_length=MAX_STRUCTURES)
    ]
    input: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """A model that was brought here, and what must still be uploaded before it can be trained."""

    model_name: Ident
    model_version: Ident
    missing: tuple[Text, ...]
    weights: Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What this machine can do; storage and RAM are what is free, in GB."""

    storage: Number
    RAM: Number
    GPU: Flag
    preinstalled_libraries: dict[str, str]
    available_models: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why something was refused, and, of a job file, every fault of it."""

    error: str
    faults: tuple[JobFault, ...] = ()
