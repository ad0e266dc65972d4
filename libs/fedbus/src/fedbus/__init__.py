"""Federated learning as small asyncio services over MQTT.

What authors of programs and of plug-ins need is here by name, and imported only when asked for: an
agent on a small device pays for no more than it uses.
"""

from typing import TYPE_CHECKING, Final

from fedbus.lazy_names import names_on_first_use

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

_NAMES: Final = {
    "fedbus.client.asyncio_client": ("connect",),
    "fedbus.client.sync_client": ("connect_sync",),
    "fedbus.data": (
        "Batch",
        "Dataset",
        "Format",
    ),
    "fedbus.errors": (
        "FedbusError",
        "Stopped",
        "TrainingError",
    ),
    "fedbus.model.layout": (
        "Array",
        "Weights",
    ),
    "fedbus.model.load_into": ("load_into",),
    "fedbus.plugins": (
        "AgentInfo",
        "Block",
        "Coefficients",
        "Combined",
        "LocalEnd",
        "LocalStart",
        "Preset",
        "UpdateFacts",
    ),
    "fedbus.training.local_terms": ("LocalTerms",),
    "fedbus.training.params": (
        "Architecture",
        "Metrics",
        "PluginChoice",
        "TrainingParams",
        "Update",
    ),
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = names_on_first_use(globals(), _NAMES)
