"""Formats of a pulled model: named arrays, a file of a framework, or ONNX.

    npz, safetensors         arrays by the layout's names; read without any framework
    torch, keras, tflite     what each framework itself loads
    onnx                     the whole model for any runtime, exported by torch or Keras

safetensors and ONNX files say in their metadata which version they hold.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from fedbus.atomic_write import atomic_write
from fedbus.client.failures import Failed
from fedbus.client.model_outputs import row_of
from fedbus.errors import FedbusError, LayoutError, SettingsError
from fedbus.frameworks.tensorflow_logs import suppressed_logs
from fedbus.model import safetensors
from fedbus.model.layout import Array, Weights
from fedbus.model.npz import write_npz, write_npz_to
from fedbus.training.options import FRAMEWORKS
from fedbus.wire.blobs import ModelRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import VersionFacts

SUFFIXES: Final[Mapping[str, str]] = {
    "npz": ".npz",
    "safetensors": ".safetensors",
    **{name: framework.suffix for name, framework in FRAMEWORKS.items()},
    "onnx": ".onnx",
}
"""Suffix of each format; `npz` and `safetensors` have the layout's names."""
_BY_SUFFIX: Final = {suffix: name for name, suffix in SUFFIXES.items()} | {".pth": "torch"}
_OTHERS: Final = "or pull --format npz and load it with fedbus.load_into(model, FILE)"
_EXTRAS: Final = {"onnx": "onnx-export", "torch": "torch"}
"""The extra of fedbus that installs what a format needs; "tensorflow" for the others."""
_EXPORTED_FROM: Final = ("torch", "keras")
"""Architectures that an ONNX file is exported from, in this order."""
STDOUT: Final = Path("-")
"""Standard output, in place of a file."""


@dataclass(frozen=True, slots=True)
class VersionContents:
    """A version of a model with its weights, and where it comes from.

    Attributes:
        ref: The version.
        spec: The layout of the weights, the frameworks it is for, what it takes (`input`,
            `preprocessing`, `raw_input`), and what its outputs mean.
        weights: Arrays by name, of the layout's shapes and dtypes; `fedbus.load_into` takes them.
        updates: Updates in the sum of an encrypted version, as its header says; 0: it was plain.
        facts: The job, the round and the metrics of the version; None if it was fetched by its ref.
        file: The file of a model that only runs, which holds its weights; None for any other.
    """

    ref: ModelRef
    spec: ModelSpec
    weights: dict[str, Array]
    updates: int = 0
    facts: VersionFacts | None = None
    file: bytes | None = None

    @property
    def own_format(self) -> str | None:
        """The format of the file of a model that only runs; None for any other."""
        if self.spec.layout:
            return None
        return next((name for name in self.spec.architectures if name in SUFFIXES), None)


def choose_format(given: str | None, output: Path | None) -> str:
    """Return the format that is given, else that of the file's suffix, else npz.

    Raises:
        SettingsError: the format is unknown, or contradicts the suffix, or the suffix is unknown.
    """
    if output == STDOUT:
        output = None
    named = None if output is None else _BY_SUFFIX.get(output.suffix.lower())
    if given is None:
        if output is not None and named is None:
            raise SettingsError(
                f"-o: {output} has no known suffix; use one of {', '.join(_BY_SUFFIX)}, or add "
                f"--format {'|'.join(SUFFIXES)}"
            )
        return named or "npz"
    if given not in SUFFIXES:
        raise SettingsError(f"--format: expected one of {', '.join(SUFFIXES)}, got {given!r}")
    if named not in {None, given} or (given == "keras" and named is None and output is not None):
        raise SettingsError(f"-o: expected suffix {SUFFIXES[given]} for {given}, got {output}")
    return given


def model_file(form: str, pulled: VersionContents) -> bytes:
    """Return a version of a model in a format.

    Raises:
        SettingsError: the framework or the model's package is not installed, the spec has no
            architecture for it, or the model cannot be exported; says what works.
    """
    if not pulled.spec.layout:
        return _own_file(form, pulled)
    if form == "npz":
        file = io.BytesIO()
        write_npz_to(file, pulled.weights)
        return file.getvalue()
    if form == "safetensors":
        return safetensors.pack(pulled.weights, metadata_of(pulled))
    try:
        with suppressed_logs():
            return _framework_file(form, pulled)
    except ImportError as error:
        extra = _EXTRAS.get(form, "tensorflow")
        raise SettingsError(
            f'--format {form}: {error}; pip install "fedbus[{extra}]", {_OTHERS}'
        ) from error
    except FedbusError as error:
        raise SettingsError(f"--format {form}: {error}; {_OTHERS}") from error


def save_model(path: Path, form: str | None, pulled: VersionContents) -> None:
    """Write a version of a model to a file atomically; without a format, that of the suffix.

    Raises:
        SettingsError: as `choose_format` and `model_file`.
        Failed: the disk is full, or the path is not writable; no partial file remains.
    """
    chosen = choose_format(form, path)
    try:
        if chosen == "npz" and pulled.spec.layout:
            write_npz(path, pulled.weights)  # array by array
        else:
            atomic_write(path, model_file(chosen, pulled))
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error


def metadata_of(pulled: VersionContents) -> dict[str, str]:
    """Return what the metadata of a file say of a version: text by name.

    `job` and `round` are those that made the version, where they are known: it was not pushed.
    """
    ref, facts = pulled.ref, pulled.facts
    made = (None, 0) if facts is None else (facts.job, facts.round)
    return safetensors.version_metadata(ref.model, ref.version, ref.weights.digest, *made)


def _own_file(form: str, pulled: VersionContents) -> bytes:
    """Return the file of a model that only runs, as it was pushed."""
    own = pulled.own_format
    if pulled.file is None or form != own:
        works = "" if own is None else f"; pull --format {own}"
        raise SettingsError(
            f"--format {form}: model {pulled.spec.model} only runs: its weights are in the file "
            f"that was pushed{works}"
        )
    return pulled.file


def _framework_file(form: str, pulled: VersionContents) -> bytes:
    spec, weights = pulled.spec, pulled.weights
    if form == "onnx":
        return _onnx_file(pulled)
    architecture = _architecture(form, spec)
    if form == "torch":
        data: bytes = import_module("fedbus.frameworks.torch.loading").file_of(
            architecture, weights
        )
        return data
    loading = import_module("fedbus.frameworks.keras.loading")
    if form == "keras":
        data = loading.file_of(architecture, weights)
    else:
        data = loading.tflite_of(architecture, weights, spec.answers)
    return data


def _architecture(form: str, spec: ModelSpec) -> Mapping[str, Any]:
    framework = "torch" if form == "torch" else "keras"
    if framework not in spec.architectures:
        there = ", ".join(sorted(spec.architectures)) or "none"
        note = " (a .tflite file is exported from it)" if form == "tflite" else ""
        raise LayoutError(
            f"model {spec.model} has no architecture for {framework}{note}; it has {there}"
        )
    return spec.architectures[framework]


def _onnx_file(pulled: VersionContents) -> bytes:
    """Export a version by the first of its frameworks that can do it here."""
    spec = pulled.spec
    onnx_file = import_module("fedbus.frameworks.onnx_file")  # without onnx nothing below works
    exports: Mapping[str, Callable[[Mapping[str, Any], Weights], bytes]] = {
        "torch": lambda net, weights: import_module("fedbus.frameworks.torch.onnx_export").onnx_of(
            net, weights, row_of(spec.input)
        ),
        "keras": lambda net, weights: import_module("fedbus.frameworks.keras.onnx_export").onnx_of(
            net, weights
        ),
    }
    reasons: list[str] = []
    for framework in _EXPORTED_FROM:
        if framework not in spec.architectures:
            continue
        try:
            file = exports[framework](spec.architectures[framework], pulled.weights)
        except (FedbusError, ImportError) as error:
            reasons.append(str(error))
            continue
        about = metadata_of(pulled)
        if spec.answers is not None:
            about["answers"] = spec.answers
        if spec.classes:
            about["classes"] = json.dumps(spec.classes)
        if spec.preprocessing:  # the file takes what these make of raw rows
            about["preprocessing"] = json.dumps(spec.preprocessing)
            about["raw_input"] = json.dumps(spec.raw_input)
        data: bytes = onnx_file.with_metadata(file, about)
        return data
    there = ", ".join(sorted(spec.architectures)) or "none"
    why = "; ".join(reasons) or (
        f"model {spec.model} has no architecture that ONNX is exported from, "
        f"{' or '.join(_EXPORTED_FROM)}; it has {there}"
    )
    raise LayoutError(why)
