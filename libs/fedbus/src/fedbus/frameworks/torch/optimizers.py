"""The optimizers of PyTorch by the job file's names."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn, optim

from fedbus.errors import TrainingError
from fedbus.frameworks.torch.architectures import embeddings
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
    """Make the optimizer a job names, for what of a net can be trained.

    Embeddings have sparse gradients where SparseAdam is asked for, dense ones otherwise.

    Raises:
        TrainingError: PyTorch does not take the arguments, or the net has nothing to train.
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


def step(optimizer: optim.Optimizer, score: Callable[[], Tensor]) -> None:
    """Take one step; `score` computes a batch's loss, and LBFGS asks it more than once."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = score()
        torch.autograd.backward(loss)
        return loss

    if isinstance(optimizer, optim.LBFGS):
        optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch's own
        return
    closure()
    if isinstance(optimizer, optim.SparseAdam):
        _sparsify(optimizer)
    optimizer.step()


def _sparsify(optimizer: optim.Optimizer) -> None:
    # SparseAdam takes no dense gradient: what is zero in one stays untouched, as it does for words
    # that a batch does not have.
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None and not weight.grad.is_sparse:
                weight.grad = weight.grad.to_sparse()
