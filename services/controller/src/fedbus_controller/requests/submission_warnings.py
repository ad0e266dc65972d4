"""Warnings about an accepted job, from the agents that are online. Pure."""

from collections.abc import Iterator, Sequence

from fedbus.jobs import JobFile, parse, training_params_of
from fedbus.text import listed
from fedbus.training.options import FRAMEWORKS

Trainers = Sequence[str]
"""The trainers of one agent."""


def submission_warnings(
    payload: bytes, trainers: Sequence[Trainers], *, online: int, evaluators: bool
) -> Iterator[str]:
    """Yield warnings about a valid job file, from the trainers of each online agent.

    `online` agents train; `evaluators` is whether an evaluator is online.
    """
    job = parse(payload)
    yield from unmeasurable_metrics(job, trainers)
    if job.targets and not evaluators:
        yield (
            f"stopping_target {listed(job.targets)}: no evaluator is online, so the metrics on the "
            "data that agents train on decide; an agent with FEDBUS_ROLES=evaluate and its own "
            "data evaluates each version (docs/first-device.md)"
        )
    wanted = job.round
    if online < wanted.quorum:
        yield (
            f"waiting for agents: {online} {'is' if online == 1 else 'are'} online, "
            f"{wanted.agents} wanted, {wanted.quorum} needed (round.agents and round.quorum); the "
            "job begins when they are online"
        )


def unmeasurable_metrics(job: JobFile, online: Sequence[Trainers]) -> Iterator[str]:
    """Warn of metrics that online agents leave out because their framework does not have them.

    Agents without a named trainer, or with one that fedbus does not ship, may measure any metric.
    """
    if job.trainer in FRAMEWORKS:  # its metrics were checked with the file
        return
    known = [trainers for trainers in online if trainers and FRAMEWORKS.keys() >= set(trainers)]
    for metric in training_params_of(job).metrics:
        measured = {name for name, has in FRAMEWORKS.items() if metric in has.metrics}
        without = [trainers for trainers in known if not measured & set(trainers)]
        if not without:
            continue
        agents = "no agent that is online can"
        if len(without) < len(online):
            agents = f"{len(without)} of {len(online)} agents that are online cannot"
        present = listed({name for trainers in without for name in trainers})
        yield (
            f"eval_metrics {metric!r}: {agents} measure it: {listed(measured)} has it, and there "
            f"is {present}; it is left out of their metrics"
        )
