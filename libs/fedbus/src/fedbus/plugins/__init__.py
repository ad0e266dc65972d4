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
    UsesLocalTerms,
)
from fedbus.plugins.strategy_protocols import (
    Aggregator,
    AggregatorFactory,
    Coefficients,
    Combined,
    Combines,
    KeepsState,
    LocalEnd,
    LocalStart,
    Objective,
    ObjectiveFactory,
    Preset,
    ServerOptimizer,
    ServerOptimizerFactory,
    TransformsCombined,
    TransformsUpdate,
    UpdateFacts,
    UpdateTransform,
    UpdateTransformFactory,
    WeighsAll,
    WeighsOne,
)

__all__ = [
    "BUILTIN_PACKAGE",
    "GROUPS",
    "AgentInfo",
    "Aggregator",
    "AggregatorFactory",
    "Coefficients",
    "Combined",
    "Combines",
    "DescribesRoles",
    "Evaluates",
    "Group",
    "KeepsState",
    "Loader",
    "LocalEnd",
    "LocalStart",
    "ModelFactory",
    "Objective",
    "ObjectiveFactory",
    "Plugin",
    "Predicts",
    "Preset",
    "RuntimeFactory",
    "Selector",
    "ServerOptimizer",
    "ServerOptimizerFactory",
    "Stateful",
    "Trainer",
    "TrainerFactory",
    "Transform",
    "TransformFactory",
    "TransformsCombined",
    "TransformsUpdate",
    "UpdateFacts",
    "UpdateTransform",
    "UpdateTransformFactory",
    "UsesLocalTerms",
    "WeighsAll",
    "WeighsOne",
    "allowed_names",
    "check_model",
    "find",
    "find_all",
    "installed_names",
    "load",
]
