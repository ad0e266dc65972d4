"""Loading of a fetched version in a thread: digests, spec, model, trial. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fedbus.digest import digest_of
from fedbus.errors import PluginError, TrainingError, TransferError
from fedbus.model.blob_header import Blob
from fedbus.text import listed
from fedbus.training.params import Architecture
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelLatest, ModelSpec
from fedbus_inference.encoding import Encoding, pack
from fedbus_inference.input_spec import InputSpec, read_input_specs, spec_of
from fedbus_inference.served_version import OutputSpec, Predictor, ServedVersion
from fedbus_inference.settings import InferenceSettings

if TYPE_CHECKING:
    from fedbus.datasource.preprocessing import Preprocessing
    from fedbus.model.layout import Array

Load: TypeAlias = Callable[[str, ModelSpec, Architecture, Blob, Predictor | None], Predictor]
"""Loads a model from: framework, spec, its architecture for that framework, weights.

The last argument is an unused model of the same spec, which may be reused for the weights.
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The frameworks that this process can run, the preferred first, and how to load a model."""

    frameworks: Sequence[str]
    load: Load


@dataclass(frozen=True, slots=True)
class OpenedSpec:
    """A model spec that was read, and the framework and architecture file chosen from it."""

    digest: str
    spec: ModelSpec
    inputs: Mapping[str, InputSpec]
    framework: str
    blob: BlobRef | None
    preprocessing: "Preprocessing | None" = None

    @property
    def raw_inputs(self) -> Mapping[str, InputSpec]:
        """Return what a request has: before the preprocessing."""
        if self.preprocessing is None:
            return self.inputs
        return dict.fromkeys(self.inputs, spec_of(self.preprocessing.raw))


def open_spec(
    data: Blob, blob_ref: BlobRef, runtime: Runtime, settings: InferenceSettings
) -> OpenedSpec:
    """Verify and read a spec, and choose the framework.

    Raise FedbusError if the spec is damaged or invalid, or no framework here runs the model.
    """
    _check_digest("spec", data, blob_ref)
    spec = codec.from_json(ModelSpec, bytes(data))
    framework = next((name for name in runtime.frameworks if name in spec.architectures), None)
    if framework is None:
        raise PluginError(
            f"the model has architectures for {listed(spec.architectures) or 'no framework'}; "
            f"this service runs {listed(runtime.frameworks) or 'none'}: install one of the "
            "former, or set FEDBUS_RUNTIME"
        )
    stated = spec.architectures[framework].get("blob")
    blob = None if stated is None else codec.from_json(BlobRef, pack(Encoding.JSON, stated))
    if blob:
        check_size("architecture", blob.size, settings.max_model_bytes)
    inputs = read_input_specs(spec.input, settings.max_input_elements)
    preprocessing = _read_preprocessing(spec, settings)
    return OpenedSpec(blob_ref.digest, spec, inputs, framework, blob, preprocessing)


def _read_preprocessing(spec: ModelSpec, settings: InferenceSettings) -> "Preprocessing | None":
    if not spec.preprocessing and not spec.raw_input:
        return None
    # The code of pipelines is loaded for models that have one.
    from fedbus.datasource.preprocessing import read_preprocessing  # noqa: PLC0415

    return read_preprocessing(spec.preprocessing, spec.raw_input, spec.input, settings.plugins)


def load_version(  # noqa: PLR0913, PLR0917 - the parts of a version, and what loads them
    opened: OpenedSpec,
    latest: ModelLatest,
    architecture: Blob | None,
    weights: Blob,
    load: Load,
    spare: Predictor | None = None,
    save: Callable[[ModelLatest], None] = lambda _: None,
) -> ServedVersion:
    """Verify the blobs, load the model, and reject it if it cannot predict a row of zeros.

    `save` is called with a version that works.

    Raises:
        FedbusError: The model cannot be loaded here, or its parts do not fit together.
        Exception: Any other error of a framework.
    """
    entry = dict(opened.spec.architectures[opened.framework])
    if opened.blob is not None and architecture is not None:
        _check_digest("architecture", architecture, opened.blob)
        entry["blob"] = bytes(architecture)
    _check_digest("weights", weights, weights_ref(latest))
    predictor = load(opened.framework, opened.spec, entry, weights, spare)
    spec = opened.spec
    served = ServedVersion(
        latest.model,
        latest.version,
        opened.raw_inputs,
        predictor,
        spec.answers,
        spec.classes,
        spec_digest=opened.digest,
        weights_bytes=latest.size,
        weights_digest=latest.digest,
        preprocessing=opened.preprocessing,
    )
    served = replace(served, outputs=_predict_zeros(served, opened.inputs))
    save(latest)
    return served


def _predict_zeros(served: ServedVersion, inputs: Mapping[str, InputSpec]) -> dict[str, OutputSpec]:
    """Return the outputs for one row of zeros; none if the spec does not state what a row is."""
    zeros: dict[str, Array] = {}
    for name, spec in inputs.items():
        if spec.shape is None:
            return {}
        zeros[name] = np.zeros((1, *spec.shape), spec.dtype)
    try:
        found = served.predict(zeros).arrays
    except (MemoryError, OSError):
        raise  # a fault of this machine, so the version is tried again
    except Exception as error:
        raise TrainingError(
            f"the model fails on a row of zeros of shape {_shapes(inputs)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return {name: OutputSpec(each.shape[1:], each.dtype.name) for name, each in found.items()}


def _shapes(inputs: Mapping[str, InputSpec]) -> str:
    return ", ".join(str(spec.shape) for spec in inputs.values())


def weights_ref(latest: ModelLatest) -> BlobRef:
    """Return the blob ref of a version's weights."""
    return BlobRef(digest=latest.digest, size=latest.size)


def encrypted_reason(latest: ModelLatest) -> str:
    """Return why an encrypted version is not fetched: this service has no key, and needs none."""
    return (
        "it is encrypted, so this service cannot read it; a key holder makes a version that it can "
        f"read: `fedbus models release {latest.model} --key FILE`"
    )


def check_size(what: str, size: int, limit: int) -> None:
    """Raise TransferError for a blob that is too large to be fetched."""
    if size > limit:
        raise TransferError(f"{what}: expected at most {limit} bytes, got {size}")


def _check_digest(what: str, data: Blob, blob_ref: BlobRef) -> None:
    found = digest_of(data)
    if found != blob_ref.digest:
        raise TransferError(f"{what}: expected digest {blob_ref.digest[:12]}…, got {found[:12]}…")
