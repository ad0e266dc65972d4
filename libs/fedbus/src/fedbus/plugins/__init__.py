"""Plug-in API: protocols, and discovery by entry points.

A plug-in is a class or function in any installed package, named by an entry point:

    [project.entry-points."fedbus.trainers"]
    tiny = "acme_fl.tiny:TinyTrainer"

The plug-ins of fedbus are registered in the same way. A job chooses among installed plug-ins by
name and never brings code; the settings of each process limit the choice (`FEDBUS_PLUGINS`).
"""

from fedbus.plugins.discovery import (
    BUILTIN_PACKAGE,
    GROUPS,
    Group,
    Plugin,
    allowed_names,
    find,
    find_all,
    installed_names,
    load,
)
from fedbus.plugins.model_factories import check_model
from fedbus.plugins.protocols import (
    AgentInfo,
    Aggregator,
    DescribesRoles,
    Evaluates,
    Loader,
    ModelFactory,
    Predicts,
    RuntimeFactory,
    Selector,
    Stateful,
    Trainer,
    TrainerFactory,
    Transform,
    TransformFactory,
)

__all__ = [
    "BUILTIN_PACKAGE",
    "GROUPS",
    "AgentInfo",
    "Aggregator",
    "DescribesRoles",
    "Evaluates",
    "Group",
    "Loader",
    "ModelFactory",
    "Plugin",
    "Predicts",
    "RuntimeFactory",
    "Selector",
    "Stateful",
    "Trainer",
    "TrainerFactory",
    "Transform",
    "TransformFactory",
    "allowed_names",
    "check_model",
    "find",
    "find_all",
    "installed_names",
    "load",
]
