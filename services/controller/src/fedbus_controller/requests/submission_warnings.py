"""Warnings about an accepted job, from the agents that are online. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedbus.jobs import JobFile, parse, training_params_of
from fedbus.jobs.privacy_consistency import EMPTY
from fedbus.text import listed
from fedbus.training.options import FRAMEWORKS
from fedbus.wire.documents import AgentFacts
from fedbus.wire.privacy import PrivacyTerms
from fedbus_controller.requests.private_submissions import dp_sgd_warnings, private_job_warnings

Trainers = Sequence[str]
"""The trainers of one agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineAgents:
    """What warnings depend on: the numbers of agents by what they do, and the trainers of each.

    `known_to_train` counts agents that are offline, too; `known_facts` are of those that told any.
    """

    training: int
    evaluating: int
    only_evaluating: int
    trainers: Sequence[Trainers]
    known_to_train: int
    known_facts: Sequence[AgentFacts]


def submission_warnings(
    payload: bytes, terms: PrivacyTerms | None, online: OnlineAgents
) -> Iterator[str]:
    """Yield warnings about a valid job file with these terms, from the agents that are online.

    Those about ε are the repository's: the first takes it two seconds, in a thread.
    """
    job = parse(payload)
    if job.promises_nothing:
        yield EMPTY
    yield from unmeasurable_metrics(job, online.trainers)
    if terms is not None:
        yield from private_job_warnings(terms, online.known_to_train)
        yield from dp_sgd_warnings(job, online.known_facts)
    if job.targets and terms is not None and not online.only_evaluating:
        yield (
            f"stopping_target {listed(job.targets)}: no agent that only evaluates is online, and a "
            "private job has no metrics of training, so no target ends it; an agent with "
            "FEDBUS_ROLES=evaluate and its own data evaluates each version "
            "(docs/first-device.md)"
        )
    elif job.targets and not online.evaluating:
        yield (
            f"stopping_target {listed(job.targets)}: no evaluator is online, so the metrics on the "
            "data that agents train on decide; an agent with FEDBUS_ROLES=evaluate and its own "
            "data evaluates each version (docs/first-device.md)"
        )
    wanted = job.round
    training = online.training
    if training < wanted.quorum:
        yield (
            f"waiting for agents: {training} {'is' if training == 1 else 'are'} online, "
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
