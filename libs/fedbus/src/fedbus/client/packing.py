"""Models on disk, packed for a push: a spec, the files that it names, and weights.

A spec is JSON with the fields of `fedbus.wire.documents.ModelSpec`. Where the architecture for a
framework needs a file, `"blob"` names it by its file name or by its content:

    {"model": "digits",
     "layout": [{"name": "layers.0.weight", "shape": [64, 32], "dtype": "float32"}, …],
     "architectures": {"tflite": {"blob": "digits.tflite"},
                       "torch": {"name": "mlp", "config": {…}}}}

`answers` is what the outputs mean, and by default what the model itself shows; `classes` are the
names of the outputs. A file name is one beside the spec, and `{"digest": blake3, "size": bytes}` is
the file beside the spec with that content. Without `layout`, that of the weights is taken.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fedbus import plugins
from fedbus.client.model_file_check import check_files
from fedbus.client.model_outputs import NO_OUTPUT_OPTIONS, OutputOptions, complete_spec, row_of
from fedbus.client.names import model_name
from fedbus.client.packed_model import PackedModel, packed
from fedbus.client.spec_trainers import built, first_trainer, initial_weights
from fedbus.data.model_input import has_several_inputs
from fedbus.digest import digest_of
from fedbus.errors import LayoutError, SettingsError, WireError
from fedbus.frameworks.exported import probe_output
from fedbus.model import weight_files
from fedbus.model.layout import Layout, Role
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.json_reader import read_json

_TFLITE = b"TFL3"
"""Identifier at byte 4 of every .tflite file."""
_TAKEN = (
    'given is a spec, JSON, which names its .tflite file as "architectures": {"tflite": {"blob": '
    '"FILE.tflite"}}, or package.module:factory, code that makes a Keras or torch model'
)


def read_model(
    spec_file: Path,
    weights_file: Path | None = None,
    said: OutputOptions = NO_OUTPUT_OPTIONS,
    name: str | None = None,
) -> PackedModel:
    """Read a spec, its files, and weights from a file or, without one, a framework's initial ones.

    A `name` goes before that in the spec.

    Raises:
        SettingsError: a file is missing, has other content than expected, or the name is not valid.
        FedbusError: the weights do not fit the spec's layout.
    """
    try:
        data = spec_file.read_bytes()
        if data[4:8] == _TFLITE:
            raise SettingsError(f"{spec_file}: a .tflite file, not a model spec; {_TAKEN}")
        plain = read_json(data)
    except OSError as error:
        raise SettingsError(
            f"{spec_file}: {error.strerror}; a model spec, JSON, or package.module:factory belongs "
            "there"
        ) from error
    except WireError as error:
        raise SettingsError(f"{spec_file}: not a model spec: {error}; {_TAKEN}") from error
    if name is not None and isinstance(plain, dict):
        plain["model"] = model_name(name)
    return pack(plain, spec_file.parent, weights_file, said)


def pack(
    plain: Any,  # noqa: ANN401 - a spec as JSON gives it
    folder: Path,
    weights_file: Path | None = None,
    said: OutputOptions = NO_OUTPUT_OPTIONS,
) -> PackedModel:
    """Pack a spec as JSON has it, with files of a folder; `said` goes before the spec."""
    files = with_files(plain, folder)
    if plain.get("layout") == []:
        return _pack_runnable(plain, weights_file, files, said)
    several = has_several_inputs(plain.get("input"))
    trainer, reasons = first_trainer(plain["architectures"], files, several=several)
    complete_spec(plain, probe_output(trainer, row_of(plain.get("input"))), said)
    weights = read_weights(weights_file) if weights_file else initial_weights(trainer, reasons)
    roles: Mapping[str, Role] = {}
    if isinstance(trainer, plugins.DescribesRoles):
        roles = trainer.roles()
    if (least := getattr(trainer, "least_batch", 1)) > 1:
        plain.setdefault("least_batch", least)
    return packed(plain, weights, files, roles)


def with_files(plain: Any, folder: Path) -> dict[str, bytes]:  # noqa: ANN401 - a spec as JSON gives it
    """Read the files of a folder that a spec names, and write their digests into it.

    Returns the files by digest.

    Raises:
        SettingsError: it is no spec, or a file is missing.
    """
    architectures = plain.get("architectures") if isinstance(plain, dict) else None
    if not isinstance(architectures, dict) or not all(
        isinstance(s, dict) for s in architectures.values()
    ):
        raise SettingsError("a model spec is an object with model, layout and architectures")
    files: dict[str, bytes] = {}
    for name, architecture in architectures.items():
        if "blob" in architecture:
            architecture["blob"] = _file_of(
                architecture["blob"], folder, files, f"architectures.{name}"
            )
    return files


def _pack_runnable(
    plain: dict[str, Any],
    weights_file: Path | None,
    files: Mapping[str, bytes],
    said: OutputOptions,
) -> PackedModel:
    """Pack a model that only runs: an empty layout, and one file that holds the weights."""
    architectures: dict[str, Any] = plain["architectures"]
    if weights_file is not None or not files:
        wrong = "weights come on top" if files else "no architecture names a file in `blob`"
        raise SettingsError(
            f"an empty layout is that of a model whose file holds its weights, and here {wrong}"
        )
    warning = check_files(architectures, files, Layout((), may_be_empty=True))
    runtime, _ = built("runtimes", architectures, files)
    complete_spec(plain, probe_output(runtime, row_of(plain.get("input"))), said)
    made = packed(plain, {}, files)
    return replace(made, warnings=(warning,) if warning else ())


def read_weights(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read named arrays, as `fedbus models pull` writes them.

    Raises:
        SettingsError: the file is missing, or holds something else.
    """
    try:
        return weight_files.read_weights(path)
    except LayoutError as error:
        raise SettingsError(str(error)) from error


def _file_of(named: object, folder: Path, files: dict[str, bytes], where: str) -> dict[str, Any]:
    match named:
        case str(name):
            path = folder / name
            if path.parent != folder or not path.is_file():
                raise SettingsError(f"{where}.blob: no file {name!r} beside the spec in {folder}")
            data = path.read_bytes()
        case {"digest": str(digest), "size": int(size)}:
            found = (
                data
                for path in sorted(folder.iterdir())
                if path.is_file() and path.stat().st_size == size
                if digest_of(data := path.read_bytes()) == digest
            )
            data = next(found, b"")
            if not data:
                raise SettingsError(
                    f"{where}.blob: no file in {folder} has {size} bytes and digest {digest[:12]}"
                    f"{_others(folder, where)}"
                )
        case _:
            raise SettingsError(f"{where}.blob: name a file beside the spec")
    blob_ref = blob_ref_of(data)
    files[blob_ref.digest] = data
    return {"digest": blob_ref.digest, "size": blob_ref.size}


def _others(folder: Path, where: str) -> str:
    """Format the files of a folder that may be meant, changed or truncated."""
    kind = where.rpartition(".")[2]
    found = [path for path in sorted(folder.glob(f"*.{kind}")) if path.is_file()]
    sizes = ", ".join(f"{path.name} has {path.stat().st_size} bytes" for path in found[:4])
    return f"; {sizes}: it is truncated, changed, or another file" if found else ""
