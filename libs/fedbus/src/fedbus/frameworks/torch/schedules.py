"""Learning rate schedules: PyTorch's schedulers by the job file's names, and warm-up."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from torch import optim
from torch.optim import lr_scheduler as known

from fedbus.errors import TrainingError
from fedbus.training.options import FRAMEWORKS
from fedbus.training.options.torch_options import BY_STEP
from fedbus.training.params import SchedulerParams, SchedulerPart, TrainingParams, WarmupParams


class OneCycleLR(known.OneCycleLR):
    """The one-cycle policy (Smith and Topin 2017, arXiv 1708.07120); constant after the cycle."""

    def step(self, epoch: int | None = None) -> None:
        """Step, unless the cycle has ended."""
        if epoch is not None or self.last_epoch < self.total_steps - 1:
            super().step(epoch)


SCHEDULERS: Final[Mapping[str, Callable[..., known.LRScheduler]]] = {
    kind.__name__.lower(): kind
    for kind in (
        known.LambdaLR, known.MultiplicativeLR, known.StepLR, known.MultiStepLR, known.ConstantLR,
        known.LinearLR, known.ExponentialLR, known.CosineAnnealingLR, known.ChainedScheduler,
        known.SequentialLR, known.ReduceLROnPlateau, known.CyclicLR, OneCycleLR,
        known.CosineAnnealingWarmRestarts,
    )
}  # fmt: skip
_MAX_LEARNING_RATE: Final = 1e30
"""The largest learning rate allowed: PyTorch computes steps in float32."""

Rule = Callable[[int], float]


class Schedule:
    """The learning rate of an optimizer over a task; call it after each batch and each epoch.

    In a job's first `warmup.epochs` the warm-up replaces the scheduler, which then begins with the
    job's own learning rate.

    Attributes:
        epochs: Epochs of the job that are completed.
        steps: Batches of the job that are completed.
        scheduler: PyTorch's scheduler that is active now, if any.

    Raises:
        TrainingError: PyTorch does not take the arguments.
    """

    def __init__(
        self, optimizer: optim.Optimizer, params: TrainingParams, epochs: int = 0, steps: int = 0
    ) -> None:
        self.epochs = epochs
        self.steps = steps
        self.scheduler: known.LRScheduler | None = None
        self._optimizer = optimizer
        self._params = params
        self._first = [dict(group) for group in optimizer.param_groups]
        self._warmup = params.warmup if _warms(params.warmup, epochs) else None
        self._chosen: SchedulerParams | None = None
        self._begin()

    def after_batch(self) -> None:
        """Count a step of the optimizer, and update the learning rate."""
        self.steps += 1
        if self._by_rule:
            self._set_by_rule()
        else:
            self._step(by_batch=True)

    def after_epoch(self, metrics: Mapping[str, float]) -> None:
        """Count an epoch with these metrics, and update the learning rate."""
        self.epochs += 1
        if isinstance(self.scheduler, known.ReduceLROnPlateau):
            monitor = str(self._chosen.args.get("monitor", "loss")) if self._chosen else "loss"
            self.scheduler.step(metrics[monitor])
        else:
            self._step(by_batch=False)
        if self._warmup is not None and not _warms(self._warmup, self.epochs):
            self._warmup = None
            self._reset()
            self._begin()

    @property
    def _by_rule(self) -> bool:
        return self._warmup is not None and self._warmup.scheduler is None

    def _begin(self) -> None:
        warmup = self._warmup
        self._chosen = self._params.scheduler if warmup is None else warmup.scheduler
        self.scheduler = None
        if self._by_rule:
            self._set_by_rule()
        elif self._chosen is not None:
            self.scheduler = scheduler_of(self._chosen, self._optimizer)

    def _set_by_rule(self) -> None:
        assert self._warmup is not None  # noqa: S101 - for the types: the rule is warm-up's
        factor = warmup_factor(self.steps, self._warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = self._params.learning_rate * factor

    def _reset(self) -> None:
        for group, first in zip(self._optimizer.param_groups, self._first, strict=True):
            for name in group.keys() - first.keys():
                del group[name]
            group.update(first)

    def _step(self, *, by_batch: bool) -> None:
        if self.scheduler is None or self._chosen is None:
            return
        for scheduler, chosen in _apart(self.scheduler, self._chosen):
            if _by_batch(chosen) is by_batch:
                with _translated_errors(chosen.name):
                    scheduler.step()
        _check_rates(self._optimizer, self._chosen.name)


def warmup_factor(steps: int, warmup: WarmupParams) -> float:
    """Return the factor of the learning rate after x = `steps` batches of warm-up.

    It is factor * (1 - x / iters) + x / iters, and 1 from x = iters on: a linear warm-up, as in
    torchvision and in Goyal et al. 2017 (arXiv 1706.02677).
    """
    share = min(steps, warmup.iters) / warmup.iters
    return warmup.factor * (1 - share) + share


def scheduler_of(chosen: SchedulerPart, optimizer: optim.Optimizer) -> known.LRScheduler:
    """Create a scheduler with its parts; raise TrainingError if PyTorch refuses the arguments."""
    args = _typed(chosen)
    args.pop("monitor", None)
    if "lr_lambda" in args:
        last = {"last_epoch": args["last_epoch"]} if "last_epoch" in args else {}
        args = {"lr_lambda": rule_of(chosen), **last}
    if "milestones" in args:
        args["milestones"] = list(args["milestones"])
    if parts := _parts_of(chosen):
        args["schedulers"] = [scheduler_of(part, optimizer) for part in parts]
    if args.get("last_epoch", -1) >= 0:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
    with _translated_errors(chosen.name):
        made = (
            known.ChainedScheduler(args["schedulers"], optimizer)
            if chosen.name == "chainedscheduler"
            else SCHEDULERS[chosen.name](optimizer, **args)
        )
    _check_rates(optimizer, chosen.name)
    return made


def rule_of(chosen: SchedulerPart) -> Rule:
    """Return the function that `lr_lambda` names: it maps the number of epochs to a factor."""
    args: dict[str, Any] = dict(chosen.args)

    def linear(x: int) -> float:
        first, last = args["start_factor"], args.get("end_factor", 1.0)
        return float(first + (last - first) * _share(x, args))

    rules: Mapping[str, Rule] = {
        "constant": lambda _: float(args["factor"]),
        "exponential": lambda x: float(args["gamma"] ** x),
        "step": lambda x: float(args["gamma"] ** (x // args["step_size"])),
        "inverse": lambda x: float(1 / (1 + args["decay"] * x)),
        "linear": linear,
        "polynomial": lambda x: float((1 - _share(x, args)) ** args["power"]),
        "cosine": lambda x: (1 + math.cos(math.pi * _share(x, args))) / 2,
    }
    return rules[args["lr_lambda"]]


def _share(x: int, args: Mapping[str, Any]) -> float:
    return float(min(x, args["total_iters"]) / args["total_iters"])


def _typed(chosen: SchedulerPart) -> dict[str, Any]:
    """Convert whole numbers to floats for real arguments: PyTorch sometimes requires it."""
    takes = FRAMEWORKS["torch"].schedulers[chosen.name]
    real = {name for name, domain in takes.items() if domain.kind == "real"}
    return {name: float(v) if name in real else v for name, v in chosen.args.items()}  # type: ignore[arg-type]  # checked


def _warms(warmup: WarmupParams | None, epochs: int) -> bool:
    return warmup is not None and epochs < warmup.epochs


def _apart(
    scheduler: known.LRScheduler, chosen: SchedulerParams
) -> list[tuple[known.LRScheduler, SchedulerPart]]:
    """Return the parts of a chain with their schedulers: each steps after its batches or epochs."""
    if isinstance(scheduler, known.ChainedScheduler):
        return list(zip(scheduler._schedulers, chosen.parts, strict=True))  # noqa: SLF001 - PyTorch has no public name
    return [(scheduler, chosen)]


def _by_batch(chosen: SchedulerPart) -> bool:
    """Return whether a scheduler, or one of its parts, steps after each batch."""
    return bool({chosen.name, *(part.name for part in _parts_of(chosen))} & BY_STEP)


def _parts_of(chosen: SchedulerPart) -> tuple[SchedulerPart, ...]:
    return chosen.parts if isinstance(chosen, SchedulerParams) else ()


@contextmanager
def _translated_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise TrainingError(f"torch: {name}: {error}") from error


def _check_rates(optimizer: optim.Optimizer, name: str) -> None:
    for group in optimizer.param_groups:
        if not abs(group["lr"]) <= _MAX_LEARNING_RATE:
            raise TrainingError(f"torch: {name}: the learning rate became {group['lr']:g}")
