"""Whether the model that a spec names may be built in a process: ours may, others where allowed."""

from collections.abc import Collection, Mapping
from typing import Any

from fedbus.plugins.discovery import find, installed_names
from fedbus.training.options import FRAMEWORKS


def check_model(
    framework: str, architecture: Mapping[str, Any], allowed: Collection[str] | None
) -> None:
    """Refuse a model plug-in that is installed, but not allowed here: a spec only names it.

    Args:
        framework: Whose architecture it is; the name of a trainer.
        architecture: What the spec says for it.
        allowed: As for `load`.

    Raises:
        PluginError: it is not allowed.
    """
    name = architecture.get("name")
    ours = FRAMEWORKS[framework].models if framework in FRAMEWORKS else frozenset()
    if isinstance(name, str) and name not in ours and name in installed_names("models"):
        find("models", name, allowed)
