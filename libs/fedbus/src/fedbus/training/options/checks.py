"""Checks of a job's training parameters against what a framework supports. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from fedbus.errors import TrainingError
from fedbus.training.options.framework_table import FRAMEWORKS, Framework
from fedbus.training.options.metric_kinds import FRACTIONS, QUANTITIES
from fedbus.training.options.scheduler_checks import check_scheduler, check_warmup
from fedbus.training.options.unsupported_options import (
    UnsupportedOption,
    check_arguments,
    unknown_name,
)
from fedbus.training.params import Argument, TrainingParams

_OFF_AT_ZERO: Final = frozenset({"dampening", "momentum", "weight_decay"})


def unsupported_options(
    frameworks: Collection[str], params: TrainingParams
) -> tuple[UnsupportedOption, ...]:
    """Return what none of some frameworks supports; empty if one of them supports everything.

    Where several lack something, the result is that of the framework with the fewest faults.
    Third-party trainers are not checked: with one among `frameworks` the result is empty.
    """
    if not frameworks or not FRAMEWORKS.keys() >= set(frameworks):
        return ()
    candidates = [name for name in FRAMEWORKS if name in frameworks]
    return min((tuple(_check(name, candidates, params)) for name in candidates), key=len)


def check_supported(framework: str, params: TrainingParams) -> None:
    """Raise TrainingError for the first option that a built-in framework does not support."""
    for option in unsupported_options([framework], params):
        raise TrainingError(f"{framework}: {option}")


def accepted_args(
    framework: str, optimizer: str, args: Mapping[str, Argument]
) -> dict[str, Argument]:
    """Return the arguments that an optimizer takes; others are off, like `nesterov: false`."""
    domains = FRAMEWORKS[framework].optimizers[optimizer]
    return {name: value for name, value in args.items() if name in domains}


def _check(
    framework: str, candidates: Sequence[str], params: TrainingParams
) -> Iterator[UnsupportedOption]:
    yield from _check_optimizer(framework, candidates, params)
    yield from check_scheduler(framework, candidates, params)
    yield from check_warmup(framework, candidates, params)
    if params.loss not in FRAMEWORKS[framework].losses:
        known = {name: f.losses for name, f in FRAMEWORKS.items()}
        yield unknown_name("eval_func", "a loss", params.loss, (framework, candidates), known)
    yield from _check_metrics(framework, candidates, params)


def _check_metrics(
    framework: str, candidates: Sequence[str], params: TrainingParams
) -> Iterator[UnsupportedOption]:
    has = FRAMEWORKS[framework]
    for metric in params.metrics:
        if metric in FRACTIONS and metric in has.metrics and params.loss in QUANTITIES & has.losses:
            yield UnsupportedOption(
                key="eval_metrics",
                problem=f"'{metric}' is a fraction of correct predictions, and {params.loss} is a "
                "loss of quantities, for which none is correct",
                hint="measure an error, such as mae, or leave it out; or use a loss of classes",
                item=metric,
            )
        if metric not in has.metrics:
            known = {name: f.metrics for name, f in FRAMEWORKS.items()}
            frameworks = framework, candidates
            found = unknown_name("eval_metrics", "a metric", metric, frameworks, known)
            yield replace(found, item=metric)


def _check_optimizer(
    framework: str, candidates: Sequence[str], params: TrainingParams
) -> Iterator[UnsupportedOption]:
    name, args, has = params.optimizer, params.optimizer_args, FRAMEWORKS[framework]
    if name not in has.optimizers:
        known = {other: f.optimizers for other, f in FRAMEWORKS.items()}
        key = "optimizer_config.optimizer"
        yield unknown_name(key, "an optimizer", name, (framework, candidates), known)
        return
    tables = {other: FRAMEWORKS[other].optimizers for other in candidates}
    used = {arg: value for arg, value in args.items() if not _is_off(has, name, arg, value)}
    yield from check_arguments("optimizer_config", framework, name, used, tables)
    conflict = has.conflicting_args(name, args)
    if conflict is not None:
        yield UnsupportedOption(key=f"optimizer_config.{conflict[0]}", problem=conflict[1])


def _is_off(has: Framework, optimizer: str, arg: str, value: Argument) -> bool:
    """Return whether an argument that only other frameworks take is switched off."""
    if arg in has.optimizers[optimizer]:
        return False
    off = value is False or (value == 0 and arg in _OFF_AT_ZERO)
    return off and any(arg in f.optimizers.get(optimizer, {}) for f in FRAMEWORKS.values())
