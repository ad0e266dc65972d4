"""Plug-in API: protocols, and discovery by entry points.

A plug-in is a class or function in any installed package, named by an entry point:

    [project.entry-points."fedbus.trainers"]
    tiny = "acme_fl.tiny:TinyTrainer"

The plug-ins of fedbus are registered in the same way. A job chooses among installed plug-ins by
name and never brings code; the settings of each process limit the choice (`FEDBUS_PLUGINS`).
"""

from typing import TYPE_CHECKING, Final

from fedbus.lazy_names import names_on_first_use
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
    Loader,
    ModelFactory,
    Selector,
    Transform,
    TransformFactory,
)
from fedbus.plugins.trainer_protocols import (
    CutsModel,
    DescribesRoles,
    Evaluates,
    Predicts,
    PredictsNamed,
    RuntimeFactory,
    Stateful,
    Trainer,
    TrainerFactory,
    UsesDpSgd,
    UsesLocalTerms,
)

if TYPE_CHECKING:
    from fedbus.plugins.objective_protocols import (
        AfterTraining,
        LocalEnd,
        LocalStart,
        Objective,
        ObjectiveFactory,
    )
    from fedbus.plugins.privacy_protocols import (
        PrivacyMechanism,
        PrivateTraining,
        PrivateUpdate,
        ProtectsCombined,
        ProtectsUpdate,
        RoundNoise,
        SecretNoise,
        StatesBound,
    )
    from fedbus.plugins.strategy_protocols import (
        Aggregator,
        AggregatorFactory,
        Block,
        Coefficients,
        Combined,
        Combines,
        KeepsNumbers,
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
    "AfterTraining",
    "AgentInfo",
    "Aggregator",
    "AggregatorFactory",
    "Block",
    "Coefficients",
    "Combined",
    "Combines",
    "CutsModel",
    "DescribesRoles",
    "Evaluates",
    "Group",
    "KeepsNumbers",
    "Loader",
    "LocalEnd",
    "LocalStart",
    "ModelFactory",
    "Objective",
    "ObjectiveFactory",
    "Plugin",
    "Predicts",
    "PredictsNamed",
    "Preset",
    "PrivacyMechanism",
    "PrivateTraining",
    "PrivateUpdate",
    "ProtectsCombined",
    "ProtectsUpdate",
    "RoundNoise",
    "RuntimeFactory",
    "SecretNoise",
    "Selector",
    "ServerOptimizer",
    "ServerOptimizerFactory",
    "Stateful",
    "StatesBound",
    "Trainer",
    "TrainerFactory",
    "Transform",
    "TransformFactory",
    "TransformsCombined",
    "TransformsUpdate",
    "UpdateFacts",
    "UpdateTransform",
    "UpdateTransformFactory",
    "UsesDpSgd",
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

_NAMES: Final = {
    "fedbus.plugins.objective_protocols": (
        "AfterTraining",
        "LocalEnd",
        "LocalStart",
        "Objective",
        "ObjectiveFactory",
    ),
    "fedbus.plugins.privacy_protocols": (
        "PrivacyMechanism",
        "PrivateTraining",
        "PrivateUpdate",
        "ProtectsCombined",
        "ProtectsUpdate",
        "RoundNoise",
        "SecretNoise",
        "StatesBound",
    ),
    "fedbus.plugins.strategy_protocols": (
        "Aggregator",
        "AggregatorFactory",
        "Block",
        "Coefficients",
        "Combined",
        "Combines",
        "KeepsNumbers",
        "Preset",
        "ServerOptimizer",
        "ServerOptimizerFactory",
        "TransformsCombined",
        "TransformsUpdate",
        "UpdateFacts",
        "UpdateTransform",
        "UpdateTransformFactory",
        "WeighsAll",
        "WeighsOne",
    ),
}
"""Names whose modules are imported once one is used: inference runs no strategy."""

if not TYPE_CHECKING:
    __getattr__, __dir__ = names_on_first_use(globals(), _NAMES)
