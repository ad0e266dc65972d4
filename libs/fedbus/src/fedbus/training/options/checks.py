"""Whether a framework can do what a job asks of it, in the words of the job file. Pure."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fedbus.errors import TrainingError
from fedbus.text import listed
from fedbus.training.options import framework_table
from fedbus.training.options.domains import ArgumentDomains
from fedbus.training.options.framework_table import FRAMEWORKS, Framework
from fedbus.training.options.metric_kinds import FRACTIONS, QUANTITIES
from fedbus.training.options.torch_options import CYCLED, LAMBDAS, MADE_OF_PARTS
from fedbus.training.params import (
    Argument,
    SchedulerParams,
    SchedulerPart,
    TrainingParams,
    WarmupParams,
)

_NO_PARTS: Final = MADE_OF_PARTS | {"reducelronplateau"}
_OFF_AT_ZERO: Final = frozenset({"dampening", "momentum", "weight_decay"})


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsupportedOption:
    """What a framework cannot do, by its key in the job file; `word` is the one of a list."""

    key: str
    problem: str
    hint: str = ""
    word: str = ""

    def __str__(self) -> str:
        """Read as a sentence."""
        sentence = f"{self.key}: {self.problem}"
        return f"{sentence}; {self.hint}" if self.hint else sentence


def unsupported_options(
    among: Collection[str], params: TrainingParams
) -> tuple[UnsupportedOption, ...]:
    """Say what keeps each of some frameworks from doing what a job asks: nothing if one can.

    Where none can, it is what keeps the one that comes nearest. Frameworks that are not ours are
    not judged: one of them among these can do anything.
    """
    if not among or not FRAMEWORKS.keys() >= set(among):
        return ()
    judged = [name for name in FRAMEWORKS if name in among]
    return min((tuple(_of(name, judged, params)) for name in judged), key=len)


def check_supported(framework: str, params: TrainingParams) -> None:
    """Refuse what a framework of ours cannot do, before it trains or scores.

    Raises:
        TrainingError: names the framework and the first thing that it cannot do.
    """
    for objection in unsupported_options([framework], params):
        raise TrainingError(f"{framework}: {objection}")


def accepted_args(
    framework: str, optimizer: str, args: Mapping[str, Argument]
) -> dict[str, Argument]:
    """Leave out what is switched off and not taken: `nesterov: false` for one that has no such."""
    takes = FRAMEWORKS[framework].optimizers[optimizer]
    return {name: value for name, value in args.items() if name in takes}


def _of(
    framework: str, judged: Sequence[str], params: TrainingParams
) -> Iterator[UnsupportedOption]:
    has = FRAMEWORKS[framework]
    yield from _optimizer(framework, judged, params)
    measured = {"loss", *params.metrics}
    if params.scheduler is not None:
        places = _Places("scheduler_config.scheduler", "scheduler_config")
        yield from _scheduler(framework, judged, params.scheduler, places)
        yield from _fits(params, params.scheduler, places, measured)
    if params.warmup is not None:
        yield from _warmup(framework, judged, params, params.warmup)
    if params.loss not in has.losses:
        known = {name: f.losses for name, f in FRAMEWORKS.items()}
        yield _unknown("eval_func", "a loss", params.loss, (framework, judged), known)
    for metric in params.metrics:
        if metric in FRACTIONS and metric in has.metrics and params.loss in QUANTITIES & has.losses:
            yield UnsupportedOption(
                key="eval_metrics",
                problem=f"'{metric}' is a share of right answers, and {params.loss} a loss of "
                "quantities, which has none",
                hint="measure an error, as mae, or leave it out; or take a loss of classes",
                word=metric,
            )
        if metric not in has.metrics:
            known = {name: f.metrics for name, f in FRAMEWORKS.items()}
            found = _unknown("eval_metrics", "a metric", metric, (framework, judged), known)
            yield replace(found, word=metric)


def _optimizer(
    framework: str, judged: Sequence[str], params: TrainingParams
) -> Iterator[UnsupportedOption]:
    name, args, has = params.optimizer, params.optimizer_args, FRAMEWORKS[framework]
    if name not in has.optimizers:
        known = {other: f.optimizers for other, f in FRAMEWORKS.items()}
        key = "optimizer_config.optimizer"
        yield _unknown(key, "an optimizer", name, (framework, judged), known)
        return
    tables = {other: FRAMEWORKS[other].optimizers for other in judged}
    meant = {arg: value for arg, value in args.items() if not _off(has, name, arg, value)}
    yield from _arguments("optimizer_config", framework, name, meant, tables)
    odd = has.conflicting_args(name, args)
    if odd is not None:
        yield UnsupportedOption(key=f"optimizer_config.{odd[0]}", problem=odd[1])


def _off(has: Framework, optimizer: str, arg: str, value: Argument) -> bool:
    """Say whether an argument asks for nothing: off, and not taken here, but by somebody."""
    if arg in has.optimizers[optimizer]:
        return False
    off = value is False or (value == 0 and arg in _OFF_AT_ZERO)
    return off and any(arg in f.optimizers.get(optimizer, {}) for f in FRAMEWORKS.values())


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the name of a scheduler stands in the job file, and where its arguments."""

    name: str
    args: str


def _scheduler(
    framework: str, judged: Sequence[str], chosen: SchedulerParams, places: _Places
) -> Iterator[UnsupportedOption]:
    yield from _part(framework, judged, chosen, places)
    inside = f"{places.args}.schedulers"
    if chosen.name not in MADE_OF_PARTS:
        if chosen.parts:
            yield UnsupportedOption(key=inside, problem=f"not an argument of {chosen.name}")
        return
    if not chosen.parts:
        yield UnsupportedOption(key=inside, problem=f"missing: {chosen.name} is made of them")
    for index, part in enumerate(chosen.parts):
        place = f"{inside}[{index}]"
        if part.name in _NO_PARTS:
            yield UnsupportedOption(
                key=f"{place}.scheduler", problem=f"'{part.name}' is no part of {chosen.name}"
            )
        else:
            yield from _part(framework, judged, part, _Places(f"{place}.scheduler", place))
    milestones = chosen.args.get("milestones")
    if isinstance(milestones, tuple) and chosen.parts and len(milestones) != len(chosen.parts) - 1:
        yield UnsupportedOption(
            key=f"{places.args}.milestones",
            problem=f"{len(milestones)} for {len(chosen.parts)} schedulers",
            hint="one between each two of them",
        )


def _part(
    framework: str, judged: Sequence[str], chosen: SchedulerPart, places: _Places
) -> Iterator[UnsupportedOption]:
    if chosen.name not in FRAMEWORKS[framework].schedulers:
        known = {other: f.schedulers for other, f in FRAMEWORKS.items()}
        yield _unknown(places.name, "a scheduler", chosen.name, (framework, judged), known)
        return
    extra = LAMBDAS.get(str(chosen.args.get("lr_lambda")), {})
    tables = {
        other: {name: {**takes, **extra} for name, takes in FRAMEWORKS[other].schedulers.items()}
        for other in judged
    }
    yield from _arguments(places.args, framework, chosen.name, chosen.args, tables)
    if chosen.name == "onecyclelr":
        yield from _cycle(chosen.args, places.args)


def _cycle(args: Mapping[str, Argument], place: str) -> Iterator[UnsupportedOption]:
    """Hold the length of a cycle against its parts."""
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


def _fits(
    params: TrainingParams, chosen: SchedulerParams, places: _Places, measured: Collection[str]
) -> Iterator[UnsupportedOption]:
    """Hold a scheduler against the rest of the job."""
    monitor = chosen.args.get("monitor")
    if monitor is not None and monitor not in measured:
        yield UnsupportedOption(
            key=f"{places.args}.monitor",
            problem=f"{monitor!r} is not measured",
            hint="name it in eval_metrics",
        )
    cycled = {"cycliclr", "onecyclelr"} & {chosen.name, *(part.name for part in chosen.parts)}
    wants = any(part.args.get("cycle_momentum", True) for part in (chosen, *chosen.parts))
    if cycled and wants and params.optimizer not in CYCLED:
        yield UnsupportedOption(
            key=f"{places.args}.cycle_momentum",
            problem=f"{params.optimizer} has no momentum to cycle",
            hint="give false",
        )


def _warmup(
    framework: str, judged: Sequence[str], params: TrainingParams, warmup: WarmupParams
) -> Iterator[UnsupportedOption]:
    if not FRAMEWORKS[framework].warms_up:
        able = listed([name for name, has in FRAMEWORKS.items() if has.warms_up])
        yield UnsupportedOption(
            key="warmup_config", problem=f"{framework} has no warm-up; {able} has"
        )
    elif warmup.scheduler is not None:
        places = _Places("warmup_config.scheduler", "warmup_config.scheduler_conf")
        yield from _scheduler(framework, judged, warmup.scheduler, places)
        yield from _fits(params, warmup.scheduler, places, {"loss", *params.metrics})


def _arguments(
    place: str,
    framework: str,
    name: str,
    args: Mapping[str, Argument],
    tables: Mapping[str, Mapping[str, ArgumentDomains]],
) -> Iterator[UnsupportedOption]:
    takes = tables[framework][name]
    having = {other: table[name] for other, table in tables.items() if name in table}
    for arg, value in args.items():
        if arg not in takes:
            elsewhere = any(arg in others for others in having.values())
            where = f" in {framework}" if elsewhere else ""
            problem = f"not an argument of {name}{where}"
            yield UnsupportedOption(key=f"{place}.{arg}", problem=problem, hint=_said(name, having))
        elif fault := takes[arg].fault(value):
            yield UnsupportedOption(key=f"{place}.{arg}", problem=fault)
    for arg, domain in takes.items():
        if domain.required and arg not in args:
            yield UnsupportedOption(
                key=f"{place}.{arg}", problem=f"missing: {name} needs it", hint=str(domain)
            )


def _said(name: str, having: Mapping[str, ArgumentDomains]) -> str:
    """Name the arguments something takes, framework by framework where they differ."""
    rate = ("lr or learning_rate",) if framework_table.is_optimizer(name) else ()
    said = {other: ", ".join([*rate, *takes]) or "none" for other, takes in having.items()}
    if len(set(said.values())) == 1:
        return f"{name} takes {next(iter(said.values()))}"
    return f"{name} takes " + "; ".join(f"{args} in {other}" for other, args in said.items())


def _unknown(
    key: str,
    what: str,
    name: str,
    who: tuple[str, Sequence[str]],
    tables: Mapping[str, Collection[str]],
) -> UnsupportedOption:
    framework, judged = who
    knowing = [other for other, table in tables.items() if name in table]
    if knowing:
        return UnsupportedOption(
            key=key,
            problem=f"'{name}' is {what} of {listed(knowing)}, not of {framework}",
            hint=f"{framework} has {listed(tables[framework]) or 'none'}",
        )
    known = sorted({name for other in judged for name in tables[other]})
    near = difflib.get_close_matches(name[:64], known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there is {listed(known) or 'none'}"
    return UnsupportedOption(key=key, problem=f"'{name}' is unknown", hint=hint)
