"""Empty models: a first version of zeros, of drawn numbers, or as a framework begins.

A deployment can then train a model that has no weights yet. The spec is that of a stored
model, of a file, or of architectures that are named; its layout is stated, or that of the first
framework that is installed here.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fedbus import plugins
from fedbus.blobs.spool import Spools
from fedbus.client.connection import ClientConnection
from fedbus.client.failures import Refused
from fedbus.client.model_outputs import NO_OUTPUT_OPTIONS, complete_spec, row_of
from fedbus.client.model_rehearsal import rehearse
from fedbus.client.names import model_name
from fedbus.client.packed_model import PackedModel, packed
from fedbus.client.packing import with_files
from fedbus.client.repository import Pull
from fedbus.client.spec_trainers import first_trainer
from fedbus.client.stored_models import IN_MEMORY_BYTES, history, models, run_request
from fedbus.errors import SettingsError, WireError
from fedbus.frameworks.exported import probe_output
from fedbus.frameworks.tensorflow_logs import suppressed_logs
from fedbus.model.first_weights import INITS, Init, drawn_weights, zero_weights
from fedbus.model.layout import Layout, Role, Weights
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.json_reader import read_json
from fedbus.wire.version_choice import VersionChoice

ZEROS_WARNING: Final = (
    "all weights are 0: layers before the last one then get no gradient, so this model is one to "
    "fill, not one to train; --init random draws its weights"
)


async def spec_like(
    connection: ClientConnection, choice: VersionChoice
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Fetch the spec of a stored model as JSON has it, and the files that it names, by digest.

    Raises:
        Refused: there is no such model, or no such version.
        Unreachable: the repository does not answer.
    """
    found = await history(connection, choice, limit=1)
    plain: dict[str, Any] = json.loads(codec.to_json(found.spec))
    named = [each["blob"] for each in plain["architectures"].values() if "blob" in each]
    wanted = tuple(BlobRef(digest=each["digest"], size=each["size"]) for each in named)
    if not wanted:
        return plain, {}
    request = Pull(found.ref.source, wanted, Spools(IN_MEMORY_BYTES))
    got = await run_request(connection, request)
    return plain, {digest: bytes(spool.read(0, spool.size)) for digest, spool in got.items()}


def spec_of_layout(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read a layout, a JSON list of tensors, or a spec with one, and the files that it names.

    Raises:
        SettingsError: the file cannot be read, or is neither.
    """
    try:
        plain = read_json(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except WireError as error:
        raise SettingsError(f"{path}: not a layout: {error}") from error
    if isinstance(plain, list):
        plain = {"layout": plain}
    if not isinstance(plain, dict):
        raise SettingsError(
            f"{path}: expected a list of tensors, "
            '[{"name": "layers.0.weight", "shape": [64, 10], "dtype": "float32"}, …], or a model '
            "spec"
        )
    plain.setdefault("architectures", {})
    return plain, with_files(plain, path.parent)


def spec_of(
    architectures: Mapping[str, Mapping[str, Any]], row: tuple[int, ...] | None = None
) -> dict[str, Any]:
    """Return a spec, as JSON has it, of architectures and the shape of a row."""
    spec: dict[str, Any] = {
        "architectures": {name: dict(architectures[name]) for name in architectures}
    }
    if row is not None:
        spec["input"] = {"shape": list(row)}
    return spec


async def check_new(connection: ClientConnection, name: str) -> None:
    """Refuse a name that a model has.

    Raises:
        Refused: there is a model of this name.
    """
    there = {each.model: each.version for each in await models(connection)}
    if name in there:
        raise Refused(
            f"model {name} exists, its latest version is {there[name]}: choose another name, or "
            "push a further version of it with `fedbus models push`"
        )


def empty_model(
    name: str,
    plain: Mapping[str, Any],
    files: Mapping[str, bytes],
    init: Init = "zeros",
    seed: int = 0,
) -> PackedModel:
    """Pack the first version of a model, tried in each of its frameworks that is installed here.

    Args:
        name: The model's name.
        plain: The spec as JSON has it; without `layout` that of a framework is taken.
        files: Those that the spec names, by digest.
        init: How its weights are made.
        seed: Of `random`.

    Raises:
        SettingsError: the layout is not known here, or `framework` is asked for and none is.
        FedbusError: the spec is not valid, or its layout is not that of the framework.
    """
    if init not in INITS:
        raise SettingsError(f"--init: expected one of {', '.join(INITS)}, got {init!r}")
    spec = {**plain, "model": model_name(name)}
    with suppressed_logs():
        trainer, reasons = first_trainer(spec["architectures"], files)
        own = None if trainer is None else trainer.initial()
        roles: Mapping[str, Role] = {}
        if isinstance(trainer, plugins.DescribesRoles):
            roles = trainer.roles()
        complete_spec(spec, probe_output(trainer, row_of(spec.get("input"))), NO_OUTPUT_OPTIONS)
    why = "; ".join(reasons) or "the spec names no architecture"
    if own is None and ("layout" not in spec or init == "framework"):
        what = "make first weights" if "layout" in spec else "tell the layout"
        raise SettingsError(
            f"no framework here can {what} ({why}); install one, "
            + ("or choose --init random" if "layout" in spec else "or state a layout")
        )
    layout = _layout_of(spec, own, roles)
    weights = _first(layout, own, init, seed)
    made = packed(spec, weights, files, roles)
    told = [*made.warnings, *rehearse(made)]
    if init == "zeros":
        told.append(ZEROS_WARNING)
    if not spec["architectures"]:
        told.append("it has no architecture, so no agent can train it, and nothing can serve it")
    return PackedModel(made.push, made.blobs, tuple(told))


def _layout_of(spec: Mapping[str, Any], own: Weights | None, roles: Mapping[str, Any]) -> Layout:
    if "layout" in spec:
        read = codec.from_json(ModelSpec, json.dumps(spec).encode())
        layout = Layout.read(read.layout)
        if own is not None:
            layout.check(own)
        return layout
    assert own is not None  # noqa: S101 - checked before
    return Layout.of(own, roles)


def _first(layout: Layout, own: Weights | None, init: Init, seed: int) -> Weights:
    if init == "framework" and own is not None:
        return own
    return drawn_weights(layout, seed, own) if init == "random" else zero_weights(layout, own)
