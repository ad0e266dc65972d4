"""What people may write for fedbus, and how it is found.

A plug-in is a class or function in any installed package, named by an entry point:

    [project.entry-points."fedbus.trainers"]
    tiny = "acme_fl.tiny:TinyTrainer"

What we ship is registered the same way. A job chooses among installed plug-ins by name and never
brings code; what a job may choose from, the settings of each process say (`FEDBUS_PLUGINS`).
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
