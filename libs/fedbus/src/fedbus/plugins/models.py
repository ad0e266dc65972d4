"""Whether the model that a card names may be built in a process: ours may, others where allowed."""

from collections.abc import Collection, Mapping
from typing import Any

from fedbus.catalogue import FRAMEWORKS
from fedbus.plugins.finding import find, installed


def check_model(
    framework: str, structure: Mapping[str, Any], allowed: Collection[str] | None
) -> None:
    """Refuse a model plug-in that is installed, but not allowed here: a card only names it.

    Args:
        framework: Whose structure it is; the name of a trainer.
        structure: What the card says for it.
        allowed: As for `load`.

    Raises:
        PluginError: it is not allowed.
    """
    name = structure.get("name")
    ours = FRAMEWORKS[framework].models if framework in FRAMEWORKS else frozenset()
    if isinstance(name, str) and name not in ours and name in installed("models"):
        find("models", name, allowed)
