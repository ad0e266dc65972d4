"""What agents need of somebody's own torch module: its structure and its weights, never itself."""

from torch import nn

from fedbus.errors import TrainingError
from fedbus.exported import Exported, look
from fedbus.frameworks.torch.models import build
from fedbus.frameworks.torch.tensors import least_batch, roles_of, weights_of
from fedbus.frameworks.torch.trainer import TorchTrainer
from fedbus.layout import Layout
from fedbus.text import in_given_order
from fedbus.training import Structure


def export(
    model: nn.Module, plugin: Structure | None, row: tuple[int, ...] | None = None
) -> Exported:
    """Make a card's parts of a `torch.nn.Module`, with the weights that it has now.

    Args:
        model: The module.
        plugin: The installed plug-in that makes it, and the config; None if there is none.
        row: The shape of a row it takes; without one, a first dense layer says it.

    Raises:
        TrainingError: no plug-in makes it, so no agent could, or what it makes has another layout.
        LayoutError: a tensor cannot be carried; the sentence names it.
    """
    kind = type(model).__name__
    if plugin is None:
        raise TrainingError(
            f"no agent can make a {kind} again: code does not cross the bus; name its factory by "
            'an entry point of the group "fedbus.models", in a package that agents install'
        )
    weights = weights_of(model)
    again = Layout.of(weights_of(build(plugin)))
    if again != Layout.of(weights):
        raise TrainingError(f"the plug-in {plugin['name']!r} makes another layout than {kind} has")
    seen = look(TorchTrainer(plugin), row or _width(model))
    if seen.several:
        raise TrainingError(
            f"{kind} returns {len(seen.several)} tensors, {in_given_order(seen.several)}; agents "
            "train models of one output: return one of them, or put them beside each other"
        )
    structures, roles, least = {"torch": plugin}, roles_of(model), least_batch(model)
    return Exported(structures, weights, roles=roles, seen=seen, least_batch=least)


def _width(model: nn.Module) -> tuple[int, ...] | None:
    """Read the shape of a row from a first layer that is dense; None where it is another."""
    layers = (m for m in model.modules() if next(m.parameters(recurse=False), None) is not None)
    first = next(layers, None)
    return (first.in_features,) if isinstance(first, nn.Linear) else None
