"""Combinations of steps for smaller blobs, with each other and with a job, that cannot work. Pure.

Each rule is one function, as those of `combinations`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from fedbus.jobs import JobFault, JobFile
from fedbus.jobs.compression_options import COMPRESSING, SELF_CONTAINED, StepId, Steps
from fedbus.jobs.privacy_consistency import PRIVACY
from fedbus.strategies.mistnet_rules import MISTNET
from fedbus.strategies.resolution import ResolvedStrategy
from fedbus.text import listed
from fedbus.wire.strategies import MAX_SECTIONS

_STAGES: Final[Mapping[StepId, int]] = {
    "top-k": 0,
    "random-k": 0,
    "cast": 1,
    "quantize": 1,
    "zstandard": 2,
}
"""The place of each step in a chain, whose work is in `_WORK`."""
_WORK: Final = ("chooses the numbers that are sent", "writes numbers in fewer bits", "packs bytes")
_POLICIES: Final[tuple[StepId, ...]] = ("adaptive-freezing", "adaptive-sync")
"""Transmitters that decide by the combined updates of earlier rounds."""


def compression_rule_faults(job: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield a fault for each step, or combination with a step, that cannot work."""
    yield from _download(job)
    for key, steps in (("transmitter", job.transmitter), ("download", job.download)):
        yield from _order(key, steps)
        yield from _once(key, steps)
    yield from _sections(job, resolved)
    yield from _mechanism(job, resolved)
    yield from _state(resolved)


def _download(job: JobFile) -> Iterator[JobFault]:
    """Yield faults of steps that a version cannot be downloaded with."""
    for number, step in enumerate(job.download):
        if step.id in SELF_CONTAINED or step.id == "simple":
            continue
        policy = step.id in _POLICIES
        yield JobFault(
            key=f"download[{number}].id",
            problem=f"'{step.id}' is about what agents send"
            if policy
            else f"'{step.id}' leaves numbers out, and an agent that has not the version before "
            "would lack them",
            hint="give it in transmitter" if policy else "choose cast, quantize or zstandard",
        )


def _order(key: str, steps: Steps) -> Iterator[JobFault]:
    """Yield a fault for each step that cannot follow those before it."""
    before: StepId | None = None
    for number, step in enumerate(steps):
        if step.id not in COMPRESSING:
            continue
        if before is not None and _STAGES[step.id] <= _STAGES[before]:
            stage = _STAGES[step.id]
            if stage == _STAGES[before]:
                problem = f"'{step.id}' after '{before}', and each of them {_WORK[stage]}"
                hint = "give one of them"
            else:
                problem = (
                    f"'{step.id}' {_WORK[stage]}, after '{before}', which {_WORK[_STAGES[before]]}"
                )
                hint = (
                    "first top-k or random-k, then cast or quantize, then zstandard, each of "
                    "which may be left out"
                )
            yield JobFault(key=f"{key}[{number}].id", problem=problem, hint=hint)
            return
        before = step.id


def _once(key: str, steps: Steps) -> Iterator[JobFault]:
    """Yield faults of what has no meaning twice, or beside others."""
    ids = [step.id for step in steps]
    for number, name in enumerate(ids):
        if name == "simple" and len(ids) > 1:
            yield JobFault(
                key=f"{key}[{number}].id",
                problem="'simple' beside other steps, and it means that there is none",
                hint="leave it out",
            )
            return
        if name in _POLICIES and name in ids[:number]:
            problem = f"'{name}' is there already"
            yield JobFault(key=f"{key}[{number}].id", problem=problem, hint="give it once")


def _sections(job: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield a fault if an update has arrays beside its differences, which no step makes smaller."""
    strategy = resolved.strategy
    if strategy.sections and (strategy.compression or strategy.freezing is not None):
        step = next(each.id for each in job.transmitter if each.id in {*COMPRESSING, *_POLICIES})
        yield JobFault(
            key="transmitter",
            problem=f"'{step}' is for the differences of an update, and {strategy.id} adds "
            f"{listed(map(repr, strategy.sections))} to it, which must arrive exactly",
            hint="leave it out, or choose a strategy without such arrays, such as fedprox or "
            "fedadam",
        )


def _mechanism(job: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield faults of steps beside a privacy mechanism."""
    terms = resolved.strategy.privacy
    if terms is None:
        return
    if terms.mechanism == MISTNET:
        for key, steps in (("transmitter", job.transmitter), ("download", job.download)):
            if any(step.id != "simple" for step in steps):
                problem = f"given, but with {MISTNET} agents send features once, and one trains"
                yield JobFault(key=key, problem=problem, hint="leave it out")
        return
    for number, step in enumerate(job.transmitter):
        if step.id in _POLICIES:
            why = (
                "noise is added to parameters that are not sent"
                if step.id == "adaptive-freezing"
                else "ε and the noise are for the local epochs of the job file"
            )
            yield JobFault(
                key=f"transmitter[{number}].id",
                problem=f"'{step.id}', but with {PRIVACY}.{terms.mechanism} {why}",
                hint="leave it out: top-k and quantize work with every mechanism",
            )


def _state(resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield a fault if the state of all parts together has more arrays than a message may name."""
    strategy = resolved.strategy
    if len(strategy.state) > MAX_SECTIONS:
        yield JobFault(
            key="transmitter",
            problem=f"{strategy.id} with these steps keeps {len(strategy.state)} arrays from round "
            f"to round, at most {MAX_SECTIONS}",
            hint="leave adaptive-freezing or adaptive-sync out, or choose another server optimizer",
        )
