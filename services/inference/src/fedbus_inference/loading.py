"""What happens in a worker thread to a version that arrived: check it, read it, load it. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fedbus.digests import digest_of
from fedbus.errors import PluginError, TrainingError, TransferError
from fedbus.text import listed
from fedbus.training import Structure
from fedbus.weights import Blob
from fedbus.wire import codec
from fedbus.wire.states import ModelCard, ModelLatest
from fedbus.wire.values import Manifest
from fedbus_inference.arrays import Spec, spec_of
from fedbus_inference.encoding import Encoding, pack
from fedbus_inference.limits import Limits
from fedbus_inference.prediction import Predictor, Served

Load: TypeAlias = Callable[[str, ModelCard, Structure, Blob, Predictor | None], Predictor]
"""Makes a model of: framework, card, its structure for that framework, weights; in a thread.

The last argument is a spare model of the same card, which may take the weights instead.
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What this process can run: frameworks, the preferred first, and what loads into one."""

    frameworks: Sequence[str]
    load: Load


@dataclass(frozen=True, slots=True)
class Opened:
    """A card that was read, for the framework that will run it."""

    digest: str
    card: ModelCard
    spec: Spec
    framework: str
    blob: Manifest | None


def _nobody(_: ModelLatest) -> None:
    """Stand in where nothing is kept."""


def open_card(data: Blob, manifest: Manifest, runtime: Runtime, limits: Limits) -> Opened:
    """Check and read a card, and choose the framework; called in a thread.

    Raises:
        FedbusError: it is not the card it should be, or nothing here runs the model.
    """
    _check("card", data, manifest)
    card = codec.from_json(ModelCard, bytes(data))
    framework = next((name for name in runtime.frameworks if name in card.structures), None)
    if framework is None:
        raise PluginError(
            f"the model comes for {listed(card.structures) or 'no framework'}; "
            f"here is {listed(runtime.frameworks) or 'none'} (install one, or set FEDBUS_RUNTIME)"
        )
    stated = card.structures[framework].get("blob")
    blob = None if stated is None else codec.from_json(Manifest, pack(Encoding.JSON, stated))
    if blob:
        check_size("structure", blob.size, limits.model_bytes)
    spec = spec_of(card.input, limits.numbers)
    return Opened(manifest.digest, card, spec, framework, blob)


def load_version(  # noqa: PLR0913, PLR0917 - what a version is made of, and what makes it
    opened: Opened,
    latest: ModelLatest,
    structure: Blob | None,
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
    entry = dict(opened.card.structures[opened.framework])
    if opened.blob is not None and structure is not None:
        _check("structure", structure, opened.blob)
        entry["blob"] = bytes(structure)
    _check("weights", weights, weights_of(latest))
    predictor = load(opened.framework, opened.card, entry, weights, spare)
    card = opened.card
    served = Served(
        latest.model,
        latest.version,
        opened.spec,
        predictor,
        card.answers,
        card.classes,
        card=opened.digest,
        weight=latest.size,
    )
    _try(served, opened.spec)
    keep(latest)
    return served


def _try(served: Served, spec: Spec) -> None:
    if spec.shape is None:
        return
    try:
        served.outputs(np.zeros((1, *spec.shape), spec.dtype))
    except (MemoryError, OSError):
        raise  # of this machine, at this moment
    except Exception as error:
        raise TrainingError(
            f"the model fails on a row of zeros of shape {spec.shape}: {type(error).__name__}: "
            f"{error}"
        ) from error


def weights_of(latest: ModelLatest) -> Manifest:
    """Name the blob of a version's weights."""
    return Manifest(digest=latest.digest, size=latest.size)


def check_size(what: str, size: int, most: int) -> None:
    """Refuse what is too large to be fetched.

    Raises:
        TransferError: the sentence says how large, and the limit.
    """
    if size > most:
        raise TransferError(f"{what} of {size} bytes, at most {most}")


def _check(what: str, data: Blob, manifest: Manifest) -> None:
    found = digest_of(data)
    if found != manifest.digest:
        raise TransferError(f"{what}: digest {found[:12]}…, announced as {manifest.digest[:12]}…")
