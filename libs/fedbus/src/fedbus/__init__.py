"""Federated learning as small asyncio services over MQTT.

What authors of programs and of plug-ins need is here by name, and imported only when asked for: an
agent on a small device pays for no more than it uses.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedbus.client.asyncio_client import connect
    from fedbus.client.sync_client import connect_sync
    from fedbus.data import Batch, Dataset, Format
    from fedbus.errors import FedbusError, Stopped, TrainingError
    from fedbus.model.layout import Array, Weights
    from fedbus.model.load_into import load_into
    from fedbus.plugins import (
        AgentInfo,
        Block,
        Coefficients,
        Combined,
        LocalEnd,
        LocalStart,
        Preset,
        UpdateFacts,
    )
    from fedbus.training.local_terms import LocalTerms
    from fedbus.training.params import (
        Architecture,
        Metrics,
        PluginChoice,
        TrainingParams,
        Update,
    )

__all__ = [
    "AgentInfo",
    "Architecture",
    "Array",
    "Batch",
    "Block",
    "Coefficients",
    "Combined",
    "Dataset",
    "FedbusError",
    "Format",
    "LocalEnd",
    "LocalStart",
    "LocalTerms",
    "Metrics",
    "PluginChoice",
    "Preset",
    "Stopped",
    "TrainingError",
    "TrainingParams",
    "Update",
    "UpdateFacts",
    "Weights",
    "connect",
    "connect_sync",
    "load_into",
]

_MODULES = {
    "AgentInfo": "fedbus.plugins",
    "Architecture": "fedbus.training.params",
    "Array": "fedbus.model.layout",
    "Batch": "fedbus.data",
    "Block": "fedbus.plugins",
    "Coefficients": "fedbus.plugins",
    "Combined": "fedbus.plugins",
    "Dataset": "fedbus.data",
    "FedbusError": "fedbus.errors",
    "Format": "fedbus.data",
    "LocalEnd": "fedbus.plugins",
    "LocalStart": "fedbus.plugins",
    "LocalTerms": "fedbus.training.local_terms",
    "Metrics": "fedbus.training.params",
    "PluginChoice": "fedbus.training.params",
    "Preset": "fedbus.plugins",
    "Stopped": "fedbus.errors",
    "TrainingError": "fedbus.errors",
    "TrainingParams": "fedbus.training.params",
    "Update": "fedbus.training.params",
    "UpdateFacts": "fedbus.plugins",
    "Weights": "fedbus.model.layout",
    "connect": "fedbus.client.asyncio_client",
    "connect_sync": "fedbus.client.sync_client",
    "load_into": "fedbus.model.load_into",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
