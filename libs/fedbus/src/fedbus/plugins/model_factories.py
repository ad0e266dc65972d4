"""Permission to build the model that a spec names: built-in models always, others if allowed."""

from collections.abc import Collection, Mapping
from typing import Any

from fedbus.plugins.discovery import find, installed_names
from fedbus.training.options import FRAMEWORKS


def check_model(
    framework: str, architecture: Mapping[str, Any], allowed: Collection[str] | None
) -> None:
    """Reject a model plug-in that is installed but not allowed here.

    Raises:
        PluginError: The plug-in is not allowed.
    """
    name = architecture.get("name")
    builtin = FRAMEWORKS[framework].models if framework in FRAMEWORKS else frozenset()
    if isinstance(name, str) and name not in builtin and name in installed_names("models"):
        find("models", name, allowed)
