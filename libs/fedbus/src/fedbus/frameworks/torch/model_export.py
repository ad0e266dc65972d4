"""Export of a user's PyTorch module: its architecture and weights, no code."""

from torch import nn

from fedbus.errors import TrainingError
from fedbus.frameworks.exported import ExportedModel, probe_output
from fedbus.frameworks.torch.architectures import build
from fedbus.frameworks.torch.tensors import least_batch, roles_of, weights_of
from fedbus.frameworks.torch.trainer import TorchTrainer
from fedbus.model.layout import Layout
from fedbus.text import in_given_order
from fedbus.training.params import Architecture


def export(
    model: nn.Module,
    plugin: Architecture | None,
    row: tuple[int, ...] | None = None,
    local_terms: bool = False,  # noqa: ARG001, FBT001, FBT002 - every torch model takes them
) -> ExportedModel:
    """Export a `torch.nn.Module` with its present weights.

    Args:
        plugin: The architecture that names the plug-in which builds it; None if there is none.
        row: The shape of a row of inputs; None: that of a first dense layer.

    Raises:
        TrainingError: No plug-in builds the module, so no agent can, or the plug-in's module has
            another layout.
        LayoutError: A tensor has a dtype or form that no layout has; the message names it.
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
    seen = probe_output(TorchTrainer(plugin), row or _width(model))
    if seen.several:
        raise TrainingError(
            f"{kind} returns {len(seen.several)} tensors, {in_given_order(seen.several)}; agents "
            "train models of one output: return one of them, or put them beside each other"
        )
    architectures, roles, least = {"torch": plugin}, roles_of(model), least_batch(model)
    return ExportedModel(architectures, weights, roles=roles, seen=seen, least_batch=least)


def _width(model: nn.Module) -> tuple[int, ...] | None:
    """Return the shape of a row if the first layer is dense, else None."""
    layers = (m for m in model.modules() if next(m.parameters(recurse=False), None) is not None)
    first = next(layers, None)
    return (first.in_features,) if isinstance(first, nn.Linear) else None
