"""Optimizers of PyTorch by the job file's names, and their steps."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn, optim

from fedbus.errors import TrainingError
from fedbus.frameworks.torch.architectures import embeddings
from fedbus.frameworks.torch.term_gradients import TermGradients
from fedbus.training import options
from fedbus.training.params import TrainingParams

OPTIMIZERS: Final[Mapping[str, type[optim.Optimizer]]] = {
    kind.__name__.lower(): kind
    for kind in (
        optim.Adadelta, optim.Adagrad, optim.Adam, optim.AdamW, optim.SparseAdam, optim.Adamax,
        optim.ASGD, optim.LBFGS, optim.NAdam, optim.RAdam, optim.RMSprop, optim.Rprop, optim.SGD,
    )
}  # fmt: skip


def optimizer_of(net: nn.Module, params: TrainingParams) -> optim.Optimizer:
    """Create the optimizer that a job names, for the trainable parameters of a module.

    Embeddings get sparse gradients for SparseAdam, dense ones for all others.

    Raises:
        TrainingError: PyTorch does not take the arguments, or there is no trainable parameter.
    """
    for layer in embeddings(net):
        layer.sparse = params.optimizer == "sparseadam"
    args: Mapping[str, Any] = options.accepted_args(
        "torch", params.optimizer, params.optimizer_args
    )
    trained = [weight for weight in net.parameters() if weight.requires_grad]
    try:
        return OPTIMIZERS[params.optimizer](trained, lr=params.learning_rate, **args)  # type: ignore[call-arg]  # each has its own
    except (TypeError, ValueError) as error:
        raise TrainingError(f"torch: {params.optimizer}: {error}") from error


def step(
    optimizer: optim.Optimizer, score: Callable[[], Tensor], terms: TermGradients | None = None
) -> None:
    """Train one step; `score` computes the loss of a batch, and LBFGS calls it several times."""
    repeats = isinstance(optimizer, optim.LBFGS)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = score()
        torch.autograd.backward(loss)
        if terms is None:
            return loss
        terms.add()
        return loss + terms.value() if repeats else loss

    if isinstance(optimizer, optim.LBFGS):
        optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch's own
        return
    closure()
    if isinstance(optimizer, optim.SparseAdam):
        _sparsify(optimizer)
    optimizer.step()


def _sparsify(optimizer: optim.Optimizer) -> None:
    # SparseAdam takes no dense gradients: numbers with a gradient of zero stay unchanged, like the
    # embeddings of words that a batch does not have.
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None and not weight.grad.is_sparse:
                weight.grad = weight.grad.to_sparse()
