"""Schemas of the repository's HTTP API, with the names of ASSIST-IoT's FL repository. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from fedbus.limits import MAX_CLASS_NAMES, MAX_STRUCTURES, MAX_TENSORS, MAX_TRANSFORMS
from fedbus.scalars import Bounds, Flag, Ident, Strict, Text, Whole, Word
from fedbus.wire.documents import TensorSpec
from fedbus.wire.messages.model_trail import NameChange, Relation
from fedbus.wire.output_kinds import OutputKind

MAX_LISTED_OUTPUTS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUpload:
    """A new version of a model, before its weights: a model spec, and what to say about it.

    Attributes:
        layout: Empty for a model that only runs: its file holds the tensors.
        model_version: The number that it will have; by default the next one.
        meta: Anything; it is stored and returned, and read by no service.
    """

    model_name: Ident
    model_version: Ident | None = None
    layout: Annotated[tuple[TensorSpec, ...], Bounds(max_length=MAX_TENSORS)]
    architectures: Annotated[
        dict[Ident, dict[str, Any]], Bounds(min_length=1, max_length=MAX_STRUCTURES)
    ]
    input: dict[str, Any] = field(default_factory=dict)
    preprocessing: Annotated[tuple[dict[str, Any], ...], Bounds(max_length=MAX_TRANSFORMS)] = ()
    raw_input: dict[str, Any] = field(default_factory=dict)
    answers: OutputKind | None = None
    classes: Annotated[tuple[Word, ...], Bounds(max_length=MAX_CLASS_NAMES)] = ()
    least_batch: Annotated[int, Strict(ge=1, lt=2**31)] = 1
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """A stored file: its BLAKE3 digest and its size in bytes."""

    digest: str
    size: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionReport:
    """A version of a model, or a draft of one: `weights` is null until they are uploaded.

    Attributes:
        model_id: Digest of the weights.
        missing: Files that a draft's spec names and that the repository does not have.
        training_id: The job whose round made it; null: it was uploaded.
        kept: Whether its weights can be fetched.
        parent: The latest version when it was stored.
        base: The version that it was made from; null: its weights were pushed.
        spec: The model spec; not in lists.
    """

    model_name: Ident
    model_version: Ident
    model_id: str | None
    weights: FileReport | None
    missing: tuple[FileReport, ...] = ()
    kept: Flag = False
    training_id: Ident | None = None
    round: Whole = 0
    metrics: dict[str, float] = field(default_factory=dict)
    strategy: str | None = None
    epsilon: float | None = None
    encrypted: Flag = False
    parent: Whole | None = None
    base: Whole | None = None
    upload_date: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailableFile:
    """A file of a version whose weights can be fetched; `filename` is `model/NAME/VERSION`."""

    filename: str
    length: Whole
    upload_date: str | None
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyDocument:
    """A strategy of another program; fedbus stores its file and never loads it."""

    strategy_name: Ident
    strategy_description: Text = ""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineNeeds:
    """What a machine must have: GB of storage and memory, a GPU, packages and models."""

    storage: float = 0.0
    RAM: float = 0.0
    GPU: Flag = False
    preinstalled_libraries: dict[str, str] = field(default_factory=dict)
    available_models: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformationDocument:
    """A data transformation of another program; fedbus stores its file and never loads it."""

    id: Ident
    description: Text = ""
    parameter_types: dict[str, Any] = field(default_factory=dict)
    default_values: dict[str, Any] = field(default_factory=dict)
    outputs: Annotated[tuple[Any, ...], Bounds(max_length=MAX_LISTED_OUTPUTS)] = ()
    needs: MachineNeeds = MachineNeeds()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorDocument:
    """A collector of another program; fedbus stores its file and never loads it."""

    name: Ident
    version: Ident = "1"
    description: Text = ""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultDocument:
    """Result of a training: that of a job, or one that another program stores here."""

    model_name: Ident
    model_version: Ident
    training_id: Ident
    configuration_id: Word | None = None
    results: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagging:
    """The version that a tag names from now on, and why."""

    version: Whole
    note: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The version that an alias names from now on, and why.

    Attributes:
        expected: The version that it must name now, 0: none; null: whichever.
    """

    version: Whole
    expected: Whole | None = None
    note: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack:
    """The version that an alias must name now, so that a repeated request goes back once."""

    expected: Whole
    note: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesReport:
    """The version that each alias and each tag of a model names."""

    model_name: Ident
    aliases: Mapping[str, Whole]
    tags: Mapping[str, Whole]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePage:
    """Changes of a model's names, newest first; `more`: older ones follow."""

    changes: tuple[NameChange, ...]
    more: Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativesReport:
    """Relatives of a version; null as `model_version`: the leaves of all. `more` follow."""

    model_name: Ident
    model_version: Ident | None
    relation: Relation
    versions: tuple[VersionReport, ...]
    more: Flag
