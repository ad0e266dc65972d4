"""Trainers and runtimes of a spec's architectures, made by the frameworks installed here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

from fedbus import plugins
from fedbus.client.model_file_check import check_files
from fedbus.errors import FedbusError, SettingsError
from fedbus.model.layout import Weights
from fedbus.plugins import Trainer


def first_trainer(
    architectures: Mapping[str, Any], files: Mapping[str, bytes], *, several: bool = False
) -> tuple[Trainer | None, list[str]]:
    """Return a trainer of the first framework that is installed here, or the reasons for none.

    A model with `several` inputs is built by its runtime, which makes initial weights as well.
    """
    check_files(architectures, files)  # before native code of this process opens one
    made, reasons = built("runtimes" if several else "trainers", architectures, files)
    return cast("Trainer | None", made), reasons


def built(
    group: Literal["trainers", "runtimes"],
    architectures: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> tuple[object, list[str]]:
    """Build an architecture with the first plug-in that can, or return None and the reasons."""
    reasons: list[str] = []
    for name, architecture in architectures.items():
        ready = {
            key: files[value["digest"]] if key == "blob" else value
            for key, value in architecture.items()
        }
        try:
            here = group if name in plugins.installed_names(group) else "trainers"
            factory = cast("Callable[[Mapping[str, Any]], object]", plugins.load(here, name))
            return factory(ready), reasons
        except FedbusError as error:
            reasons.append(f"{name}: {error}")
    return None, reasons


def initial_weights(trainer: Trainer | None, reasons: Sequence[str]) -> Weights:
    """Return the initial weights that a trainer makes."""
    if trainer is not None:
        return trainer.initial()
    why = "; ".join(reasons) or "the spec names no architecture"
    raise SettingsError(
        f"no framework here can make initial weights ({why}); give a file of weights "
        "(--weights FILE.npz, in Python weights=)"
    )
