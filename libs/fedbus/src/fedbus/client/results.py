"""Results of a client's methods for nodes, models and inference: immutable and typed.

They are free of I/O, but for `PulledModel.save`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedbus.client.model_formats import VersionContents, save_model
from fedbus.model.layout import Array
from fedbus.wire.blobs import ModelRef
from fedbus.wire.documents import AgentFacts, ModelSpec, NodeState
from fedbus.wire.identifiers import role_of
from fedbus.wire.messages import ModelShown, VersionFacts
from fedbus.wire.privacy import PrivacySpent
from fedbus.wire.round_records import RoundRecord

Outputs = Array | dict[str, Array]
"""The output of a model, or its outputs by name."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What a node last published of itself.

    Attributes:
        state: The document.
        age_seconds: How long ago, by the broker's clock; None where that cannot be told.
    """

    state: NodeState
    age_seconds: float | None

    @property
    def node(self) -> str:
        """The node's name, `agent.pi-7`."""
        return self.state.node

    @property
    def role(self) -> str:
        """The role in its name: `agent`, `controller`, `collector`, `repository`, `inference`."""
        return role_of(self.state.node)

    @property
    def online(self) -> bool:
        """Whether the broker has it connected; it notices a cut connection after up to 45 s."""
        return self.state.online

    @property
    def facts(self) -> AgentFacts | None:
        """Data, frameworks, cores and memory of an agent that is online; None for others."""
        return self.state.agent


@dataclass(frozen=True, slots=True)
class StoredModel:
    """The latest version of a model.

    Attributes:
        ref: Its name, its version, and its blobs with digests and sizes in bytes.
        created: When it was stored, as RFC 3339 in UTC; None where the repository does not know.
        privacy: What its job had spent with it, `model_epsilon` with all jobs before; None without
            a privacy mechanism, and if it is not known, as `trouble` says.
        trouble: Why `privacy`, or a name, is not known: a document that the broker retains of the
            model cannot be read. "" if it can, and `Client.privacy` asks the repository itself.
        aliases: The version that each alias of the model names.
        tags: The version that each tag of the model names.
    """

    ref: ModelRef
    created: str | None
    privacy: PrivacySpent | None = None
    trouble: str = ""
    aliases: Mapping[str, int] = field(default_factory=dict)
    tags: Mapping[str, int] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The model's name."""
        return self.ref.model

    @property
    def version(self) -> int:
        """The version's number, from 1."""
        return self.ref.version


@dataclass(frozen=True, slots=True)
class ModelHistory:
    """A version of a model, the versions before it, and how to read its weights.

    Attributes:
        shown: The repository's answer: the version, its history, and which versions have weights.
        spec: The layout of the weights, the frameworks it is for, what it takes (`input`,
            `preprocessing`, `raw_input`), and what its outputs mean.
    """

    shown: ModelShown
    spec: ModelSpec

    @property
    def ref(self) -> ModelRef:
        """The version."""
        return self.shown.version

    @property
    def versions(self) -> tuple[VersionFacts, ...]:
        """This version and those before it, the newest first."""
        return self.shown.history

    @property
    def round(self) -> RoundRecord | None:
        """The round that made this version: strategy, contributors, coefficients; None: pushed."""
        return self.shown.record


@dataclass(frozen=True, slots=True)
class PushedModel:
    """A version of a model that was stored.

    Attributes:
        ref: The version.
        spec: The layout of the weights, the frameworks it is for, what it takes (`input`,
            `preprocessing`, `raw_input`), and what its outputs mean.
        warnings: What the caller should know: with which framework the model was not tried, whether
            the names of classes of the version before are kept.
    """

    ref: ModelRef
    spec: ModelSpec
    warnings: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """The model's name."""
        return self.ref.model

    @property
    def version(self) -> int:
        """The version's number, from 1."""
        return self.ref.version


@dataclass(frozen=True, slots=True)
class PulledModel(VersionContents):
    """A version of a model with its weights; the attributes are those of `VersionContents`."""

    @property
    def model(self) -> str:
        """The model's name."""
        return self.ref.model

    @property
    def version(self) -> int:
        """The version's number, from 1."""
        return self.ref.version

    def save(self, path: str | Path, form: str | None = None) -> Path:
        """Write the version to a file, whole or not at all.

        Args:
            path: Its suffix chooses the format: .npz, .safetensors, .pt, .keras, .tflite, .onnx.
            form: A format of `fedbus models pull`, for a file of another name.

        Raises:
            SettingsError: the suffix is unknown, what the format needs is not installed, or the
                model has no such format.
            Failed: the file cannot be written.
        """
        path = Path(path)
        save_model(path, form, self)
        return path


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """An answer of the inference service, a row for each row of the inputs.

    Attributes:
        model: The model's name.
        version: The version that answered.
        outputs: As the model gives them; by name where it has several outputs.
        answers: What the outputs mean, `probabilities` say; None where the model's spec does not
            say it.
        probabilities: Of the classes, where the outputs are scores that give them.
        classes: The most likely class of each row by its name, or its number where classes have no
            names; empty where the outputs are no scores of classes.
        labels: For each row the labels that are more likely than not; empty as above.
    """

    model: str
    version: int
    outputs: Outputs
    answers: str | None = None
    probabilities: Array | None = None
    classes: tuple[Any, ...] = ()
    labels: tuple[Any, ...] = ()
