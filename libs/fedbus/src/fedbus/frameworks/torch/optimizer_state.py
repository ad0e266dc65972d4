"""State of an optimizer and a learning rate schedule as named arrays."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.optim.lr_scheduler import LRScheduler

from fedbus.errors import TrainingError
from fedbus.frameworks.stateful import MADE_BY, check_maker
from fedbus.frameworks.torch.optimizers import optimizer_of
from fedbus.frameworks.torch.schedules import Schedule
from fedbus.model.layout import Array
from fedbus.training.params import TrainingParams

DONE: Final = "done"
_GROUP: Final = (
    "lr", "initial_lr", "max_lr", "min_lr", "momentum", "betas", "base_momentum", "max_momentum",
)  # fmt: skip
"""Entries of a parameter group that schedulers change or add."""
_COUNTERS: Final = (
    "last_epoch", "_step_count", "best", "num_bad_epochs", "cooldown_counter", "T_cur", "T_i",
)  # fmt: skip
"""Attributes of PyTorch's schedulers that change; all others follow from the job."""
_LISTS: Final = frozenset({"old_dirs", "old_stps", "ro"})
_SCRATCH: Final = frozenset({"al"})
"""State of LBFGS: lists of tensors, and values that it writes before reading them."""


def state_arrays(
    net: nn.Module, optimizer: optim.Optimizer, schedule: Schedule, params: TrainingParams
) -> dict[str, Array]:
    """Copy the state that a training left."""
    arrays: dict[str, Array] = {
        MADE_BY: np.array(_maker(params)),
        DONE: np.array([schedule.epochs, schedule.steps], np.int64),
    }
    for name in _GROUP:
        if name in optimizer.param_groups[0]:
            arrays[f"group/{name}"] = np.array(optimizer.param_groups[0][name], np.float64)
    if schedule.scheduler is not None:
        arrays |= _counters("scheduler", schedule.scheduler)
    for name, weight in _trained(net).items():
        for key, value in optimizer.state.get(weight, {}).items():
            if key not in _SCRATCH and value is not None:
                arrays[f"optimizer/{name}/{key}"] = _array(value)
    return arrays


def restore_state(
    net: nn.Module, params: TrainingParams, arrays: Mapping[str, Array]
) -> tuple[optim.Optimizer, Schedule]:
    """Create optimizer and schedule from a state; raise TrainingError if it is damaged or unfit."""
    check_maker(arrays, _maker(params))
    try:
        epochs, steps = (int(number) for number in arrays[DONE])
        optimizer = optimizer_of(net, params)
        schedule = Schedule(optimizer, params, epochs, steps)
        _restore(net, optimizer, arrays)
        if schedule.scheduler is not None:
            _set_counters("scheduler", schedule.scheduler, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"the optimizer state is damaged: {error}") from error
    return optimizer, schedule


def _maker(params: TrainingParams) -> str:
    """Return the parts of the parameters that decide which arrays the state has."""
    parts = (params.optimizer, sorted(params.optimizer_args), params.scheduler, params.warmup)
    return f"torch {parts}"


def _trained(net: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in net.named_parameters() if weight.requires_grad}


def _array(value: object) -> Array:
    match value:
        case Tensor():
            kept = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
            return kept.cpu().numpy().copy()
        case [Tensor(), *_]:
            return np.stack([_array(part) for part in value])
        case int():
            return np.array(value, np.int64)
        case float():
            return np.array(value, np.float64)
        case []:
            return np.zeros(0, np.float32)
        case _:
            raise TrainingError(
                f"expected numbers in the optimizer state, got a {type(value).__name__}"
            )


def _value(key: str, array: Array) -> object:
    if key in _LISTS:
        return [torch.tensor(part) for part in array]
    if array.ndim == 0 and array.dtype in (np.int64, np.float64):
        return array.item()
    return torch.from_numpy(array.copy())


def _restore(net: nn.Module, optimizer: optim.Optimizer, arrays: Mapping[str, Array]) -> None:
    trained = _trained(net)
    numbers = sum(weight.numel() for weight in trained.values())
    state: dict[int, dict[str, object]] = {}
    for index, (name, weight) in enumerate(trained.items()):
        prefix = f"optimizer/{name}/"
        found = {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}
        for key, array in found.items():
            flat = array.shape == (numbers,) or key in _LISTS
            if array.shape not in {(), tuple(weight.shape)} and not flat:
                raise ValueError(f"{key} of {name} is {array.shape}, the weight {weight.shape}")
        if found:
            state[index] = {key: _value(key, array) for key, array in found.items()}
    whole = optimizer.state_dict()
    for name in _GROUP:
        if (held := arrays.get(f"group/{name}")) is not None:
            value = tuple(held.tolist()) if held.ndim else held.item()
            for group in whole["param_groups"]:
                group[name] = value
    optimizer.load_state_dict({**whole, "state": state})


def _counters(prefix: str, scheduler: LRScheduler) -> dict[str, Array]:
    held = vars(scheduler)
    found = {f"{prefix}/{name}": np.array(held[name]) for name in _COUNTERS if name in held}
    for index, part in enumerate(held.get("_schedulers", ())):
        found |= _counters(f"{prefix}/{index}", part)
    return found


def _set_counters(prefix: str, scheduler: Any, arrays: Mapping[str, Array]) -> None:  # noqa: ANN401 - its counters are not declared
    for name in _COUNTERS:
        if name in vars(scheduler):
            setattr(scheduler, name, arrays[f"{prefix}/{name}"].item())
    for index, part in enumerate(vars(scheduler).get("_schedulers", ())):
        _set_counters(f"{prefix}/{index}", part, arrays)
