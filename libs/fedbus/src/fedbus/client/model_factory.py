"""Models from their author's code, `package.module:factory`, packed for a push.

The code is imported in this process only. What is pushed is data: architectures that agents rebuild
from the packages they have installed, files, and weights.
"""

import re
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from fedbus import plugins
from fedbus.client.model_outputs import NO_OUTPUT_OPTIONS, OutputOptions, complete_spec
from fedbus.client.packed_model import PackedModel, packed
from fedbus.errors import SettingsError
from fedbus.frameworks.exported import ExportedModel
from fedbus.model.layout import Layout, Weights
from fedbus.text import listed
from fedbus.training.params import Architecture
from fedbus.wire.blobs import blob_ref_of

Export = Callable[[object, Architecture | None, tuple[int, ...] | None, bool], ExportedModel]

EXPORTS: Final[Mapping[str, str]] = {
    "keras": "fedbus.frameworks.keras.model_export",
    "torch": "fedbus.frameworks.torch.model_export",
}
"""Module of `export`, by the package of a model's class or of a class it inherits from."""

_IMAGE: Final = 3
_FACTORY: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_factory(said: str) -> bool:
    """Return whether a source is `package.module:factory`, not the path of a spec."""
    return _FACTORY.fullmatch(said) is not None


def make_model(  # noqa: PLR0913, PLR0917 - what may be said of a model
    where: str,
    name: str | None,
    config: Mapping[str, Any] | None,
    shape: tuple[int, ...] | None = None,
    weights: Weights | None = None,
    said: OutputOptions = NO_OUTPUT_OPTIONS,
    local_terms: bool = False,  # noqa: FBT001, FBT002 - as `shape` and others
) -> PackedModel:
    """Call a factory and pack what it makes.

    Args:
        where: `package.module:factory`, importable, or in a module of the working folder.
        name: The model's name; that of the plug-in or the factory by default.
        config: Argument of the factory. Without one, a factory that is an installed plug-in is
            called with `{}`, as agents call it, and any other without arguments.
        shape: Of a row of inputs, where the model does not have one. Agents with data of another
            shape refuse the model before they train.
        weights: Instead of those of the model that the factory returns.
        said: Meaning and names of the outputs; the model itself shows them by default.
        local_terms: Whether its .tflite file can be trained with a strategy's terms.

    Raises:
        SettingsError: the factory cannot be imported or called, or returns no model; says why.
        FedbusError: the model cannot be packed.
    """
    factory = _import(where)
    claims = [plugin.name for plugin in plugins.find_all("models") if plugin.where == where]
    plugin = {"name": claims[0], "config": dict(config or {})} if claims else None
    args = (config or {},) if claims or config is not None else ()
    try:
        made = factory(*args)
    except SystemExit as error:  # its exit code would become this process's
        raise SettingsError(f"{where}: it wanted to exit: {error}") from error
    except Exception as error:  # a factory may raise any error
        raise SettingsError(f"{where}: {type(error).__name__}: {error}") from error
    exported = _export_of(made, where)(made, plugin, shape, local_terms)
    files = {key: blob_ref_of(data) for key, data in exported.files.items()}
    plain: dict[str, Any] = {
        "model": name or claims[0] if claims else name or where.rpartition(":")[2],
        "architectures": {kind: _named(s, files) for kind, s in exported.architectures.items()},
    }
    if row := _row_of(where, exported.input, shape):
        kind = "image" if len(row) == _IMAGE else "numerical"
        plain["input"] = {"data_types": {kind: {"size": list(row)}}}
    if exported.least_batch > 1:
        plain["least_batch"] = exported.least_batch
    complete_spec(plain, exported.seen, said)
    blobs = {files[key].digest: data for key, data in exported.files.items()}
    layout = Layout.of(exported.weights, exported.roles)
    if weights is not None:
        layout.check(weights)
    return packed(plain, weights or exported.weights, blobs, exported.roles)


def _row_of(
    where: str, own: tuple[int, ...] | None, said: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    if own and said and own != said:
        raise SettingsError(f"--input: {said}, but what {where} made takes {own}")
    return own or said


def _import(where: str) -> Callable[..., object]:
    module, _, name = where.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # as `python -m` has it; installed packages go first
    try:
        found: object = attrgetter(name)(import_module(module))
    except SystemExit as error:
        raise SettingsError(f"{where}: its module wanted to exit: {error}") from error
    except Exception as error:  # an import may raise any error
        raise SettingsError(f"{where}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise SettingsError(f"{where}: a {type(found).__name__}, which cannot be called")
    return found


def _export_of(made: object, where: str) -> Export:
    for kind in type(made).__mro__:
        module = EXPORTS.get(kind.__module__.partition(".")[0])
        if module is not None:
            export: Export = import_module(module).export
            return export
    raise SettingsError(
        f"{where}: it made a {type(made).__name__}; a model of {listed(EXPORTS)} is wanted"
    )


def _named(architecture: Architecture, files: Mapping[str, Any]) -> dict[str, Any]:
    if "blob" not in architecture:
        return dict(architecture)
    blob_ref = files[architecture["blob"]]
    return {**architecture, "blob": {"digest": blob_ref.digest, "size": blob_ref.size}}
