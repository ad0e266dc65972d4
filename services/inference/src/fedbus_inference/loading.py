"""What happens in a worker thread to a version that arrived: check it, read it, load it. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fedbus.digest import digest_of
from fedbus.errors import PluginError, TrainingError, TransferError
from fedbus.model.blob import Blob
from fedbus.text import listed
from fedbus.training.params import Architecture
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelLatest, ModelSpec
from fedbus_inference.arrays import InputSpec, input_spec_of
from fedbus_inference.encoding import Encoding, pack
from fedbus_inference.limits import Limits
from fedbus_inference.prediction import Predictor, Served

Load: TypeAlias = Callable[[str, ModelSpec, Architecture, Blob, Predictor | None], Predictor]
"""Makes a model of: framework, spec, its architecture for that framework, weights; in a thread.

The last argument is a spare model of the same spec, which may take the weights instead.
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What this process can run: frameworks, the preferred first, and what loads into one."""

    frameworks: Sequence[str]
    load: Load


@dataclass(frozen=True, slots=True)
class Opened:
    """A spec that was read, for the framework that will run it."""

    digest: str
    spec: ModelSpec
    input_spec: InputSpec
    framework: str
    blob: BlobRef | None


def _nobody(_: ModelLatest) -> None:
    """Stand in where nothing is kept."""


def open_spec(data: Blob, blob_ref: BlobRef, runtime: Runtime, limits: Limits) -> Opened:
    """Check and read a spec, and choose the framework; called in a thread.

    Raises:
        FedbusError: it is not the spec it should be, or nothing here runs the model.
    """
    _check("spec", data, blob_ref)
    spec = codec.from_json(ModelSpec, bytes(data))
    framework = next((name for name in runtime.frameworks if name in spec.architectures), None)
    if framework is None:
        raise PluginError(
            f"the model comes for {listed(spec.architectures) or 'no framework'}; "
            f"here is {listed(runtime.frameworks) or 'none'} (install one, or set FEDBUS_RUNTIME)"
        )
    stated = spec.architectures[framework].get("blob")
    blob = None if stated is None else codec.from_json(BlobRef, pack(Encoding.JSON, stated))
    if blob:
        check_size("architecture", blob.size, limits.model_bytes)
    input_spec = input_spec_of(spec.input, limits.numbers)
    return Opened(blob_ref.digest, spec, input_spec, framework, blob)


def load_version(  # noqa: PLR0913, PLR0917 - what a version is made of, and what makes it
    opened: Opened,
    latest: ModelLatest,
    architecture: Blob | None,
    weights: Blob,
    load: Load,
    spare: Predictor | None = None,
    keep: Callable[[ModelLatest], None] = _nobody,
) -> Served:
    """Check the blobs, load the model, and try it once, in a thread: what cannot answer stays out.

    `keep` is told of a version that works.

    Raises:
        FedbusError: the model cannot be made here, or does not fit.
        Exception: whatever else a framework raises.
    """
    entry = dict(opened.spec.architectures[opened.framework])
    if opened.blob is not None and architecture is not None:
        _check("architecture", architecture, opened.blob)
        entry["blob"] = bytes(architecture)
    _check("weights", weights, weights_of(latest))
    predictor = load(opened.framework, opened.spec, entry, weights, spare)
    spec = opened.spec
    served = Served(
        latest.model,
        latest.version,
        opened.input_spec,
        predictor,
        spec.answers,
        spec.classes,
        spec=opened.digest,
        weight=latest.size,
    )
    _try(served, opened.input_spec)
    keep(latest)
    return served


def _try(served: Served, input_spec: InputSpec) -> None:
    if input_spec.shape is None:
        return
    try:
        served.outputs(np.zeros((1, *input_spec.shape), input_spec.dtype))
    except (MemoryError, OSError):
        raise  # of this machine, at this moment
    except Exception as error:
        raise TrainingError(
            f"the model fails on a row of zeros of shape {input_spec.shape}: "
            f"{type(error).__name__}: {error}"
        ) from error


def weights_of(latest: ModelLatest) -> BlobRef:
    """Name the blob of a version's weights."""
    return BlobRef(digest=latest.digest, size=latest.size)


def check_size(what: str, size: int, most: int) -> None:
    """Refuse what is too large to be fetched.

    Raises:
        TransferError: the sentence says how large, and the limit.
    """
    if size > most:
        raise TransferError(f"{what} of {size} bytes, at most {most}")


def _check(what: str, data: Blob, blob_ref: BlobRef) -> None:
    found = digest_of(data)
    if found != blob_ref.digest:
        raise TransferError(f"{what}: digest {found[:12]}…, announced as {blob_ref.digest[:12]}…")
