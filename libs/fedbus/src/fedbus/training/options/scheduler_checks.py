"""Checks of a job's scheduler and warm-up against what a framework supports. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fedbus.text import listed
from fedbus.training.options.framework_table import FRAMEWORKS
from fedbus.training.options.torch_options import CYCLED, LAMBDAS, MADE_OF_PARTS
from fedbus.training.options.unsupported_options import (
    UnsupportedOption,
    check_arguments,
    unknown_name,
)
from fedbus.training.params import Argument, SchedulerParams, SchedulerPart, TrainingParams

_NEVER_A_PART: Final = MADE_OF_PARTS | {"reducelronplateau"}


@dataclass(frozen=True, slots=True)
class _Keys:
    """Job-file keys of a scheduler's name and of its arguments."""

    name: str
    args: str


def check_scheduler(
    framework: str, candidates: Sequence[str], params: TrainingParams
) -> Iterator[UnsupportedOption]:
    """Yield faults in the scheduler; `candidates` are the frameworks that the job may run on."""
    if params.scheduler is not None:
        keys = _Keys("scheduler_config.scheduler", "scheduler_config")
        yield from _check_chain(framework, candidates, params.scheduler, keys)
        yield from _check_against_job(params, params.scheduler, keys)


def check_warmup(
    framework: str, candidates: Sequence[str], params: TrainingParams
) -> Iterator[UnsupportedOption]:
    """Yield faults in the warm-up; `candidates` are the frameworks that the job may run on."""
    warmup = params.warmup
    if warmup is None:
        return
    if not FRAMEWORKS[framework].warms_up:
        able = listed([name for name, has in FRAMEWORKS.items() if has.warms_up])
        problem = f"{framework} has no warm-up; {able} has"
        yield UnsupportedOption(key="warmup_config", problem=problem)
    elif warmup.scheduler is not None:
        keys = _Keys("warmup_config.scheduler", "warmup_config.scheduler_conf")
        yield from _check_chain(framework, candidates, warmup.scheduler, keys)
        yield from _check_against_job(params, warmup.scheduler, keys)


def _check_chain(
    framework: str, candidates: Sequence[str], chosen: SchedulerParams, keys: _Keys
) -> Iterator[UnsupportedOption]:
    """Check a scheduler and the schedulers that it is made of."""
    yield from _check_part(framework, candidates, chosen, keys)
    inside = f"{keys.args}.schedulers"
    if chosen.name not in MADE_OF_PARTS:
        if chosen.parts:
            yield UnsupportedOption(key=inside, problem=f"not an argument of {chosen.name}")
        return
    if not chosen.parts:
        yield UnsupportedOption(key=inside, problem=f"missing: {chosen.name} is made of them")
    for index, part in enumerate(chosen.parts):
        place = f"{inside}[{index}]"
        if part.name in _NEVER_A_PART:
            problem = f"'{part.name}' cannot be a part of {chosen.name}"
            yield UnsupportedOption(key=f"{place}.scheduler", problem=problem)
        else:
            yield from _check_part(framework, candidates, part, _Keys(f"{place}.scheduler", place))
    milestones = chosen.args.get("milestones")
    if isinstance(milestones, tuple) and chosen.parts and len(milestones) != len(chosen.parts) - 1:
        yield UnsupportedOption(
            key=f"{keys.args}.milestones",
            problem=f"{len(milestones)} for {len(chosen.parts)} schedulers",
            hint="one between each two of them",
        )


def _check_part(
    framework: str, candidates: Sequence[str], chosen: SchedulerPart, keys: _Keys
) -> Iterator[UnsupportedOption]:
    """Check the name and the arguments of one scheduler."""
    if chosen.name not in FRAMEWORKS[framework].schedulers:
        known = {other: f.schedulers for other, f in FRAMEWORKS.items()}
        frameworks = framework, candidates
        yield unknown_name(keys.name, "a scheduler", chosen.name, frameworks, known)
        return
    extra = LAMBDAS.get(str(chosen.args.get("lr_lambda")), {})
    tables = {
        other: {
            name: {**domains, **extra} for name, domains in FRAMEWORKS[other].schedulers.items()
        }
        for other in candidates
    }
    yield from check_arguments(keys.args, framework, chosen.name, chosen.args, tables)
    if chosen.name == "onecyclelr":
        yield from _check_one_cycle(chosen.args, keys.args)


def _check_one_cycle(args: Mapping[str, Argument], place: str) -> Iterator[UnsupportedOption]:
    """Check that the length of a cycle is given, and that its rise takes more than one step."""
    epochs, steps, share = (args.get(n) for n in ("epochs", "steps_per_epoch", "pct_start"))
    total = args.get("total_steps")
    if total is None and isinstance(epochs, int) and isinstance(steps, int):
        total = epochs * steps
    if total is None:
        yield UnsupportedOption(
            key=f"{place}.total_steps",
            problem="missing: onecyclelr needs it",
            hint="or epochs and steps_per_epoch",
        )
    elif isinstance(total, int) and isinstance(share, int | float) and share * total == 1:
        yield UnsupportedOption(
            key=f"{place}.pct_start",
            problem=f"{share:.10g} of {total} steps is one step, in which nothing can rise",
            hint="more than one, or 0",
        )


def _check_against_job(
    params: TrainingParams, chosen: SchedulerParams, keys: _Keys
) -> Iterator[UnsupportedOption]:
    """Check that the job measures what a scheduler monitors and has the momentum that it cycles."""
    measured: Collection[str] = {"loss", *params.metrics}
    monitor = chosen.args.get("monitor")
    if monitor is not None and monitor not in measured:
        yield UnsupportedOption(
            key=f"{keys.args}.monitor",
            problem=f"{monitor!r} is not measured",
            hint="name it in eval_metrics",
        )
    cycled = {"cycliclr", "onecyclelr"} & {chosen.name, *(part.name for part in chosen.parts)}
    wants = any(part.args.get("cycle_momentum", True) for part in (chosen, *chosen.parts))
    if cycled and wants and params.optimizer not in CYCLED:
        yield UnsupportedOption(
            key=f"{keys.args}.cycle_momentum",
            problem=f"{params.optimizer} has no momentum to cycle",
            hint="write false",
        )
