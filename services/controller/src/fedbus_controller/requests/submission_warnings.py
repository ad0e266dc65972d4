"""Which of a job's metrics the agents online can measure, known as it is submitted. Pure."""

from collections.abc import Iterator, Sequence

from fedbus.jobs import parse, training_params_of
from fedbus.text import listed
from fedbus.training.options import FRAMEWORKS

Trainers = Sequence[str]
"""What an agent can train and score with."""


def unmeasured(payload: bytes, online: Sequence[Trainers]) -> Iterator[str]:
    """Warn of metrics that agents of the fleet will leave out, for want of the framework.

    Agents that name no trainer, or one that is not ours, may measure anything.
    """
    job = parse(payload)
    if job.trainer in FRAMEWORKS:  # the file itself was judged by it
        return
    known = [trainers for trainers in online if trainers and FRAMEWORKS.keys() >= set(trainers)]
    for metric in training_params_of(job).metrics:
        measured = {name for name, has in FRAMEWORKS.items() if metric in has.metrics}
        without = [trainers for trainers in known if not measured & set(trainers)]
        if not without:
            continue
        who = "no agent that is online can"
        if len(without) < len(online):
            who = f"{len(without)} of {len(online)} agents that are online cannot"
        there = listed({name for trainers in without for name in trainers})
        yield (
            f"eval_metrics {metric!r}: {who} measure it: {listed(measured)} has it, and there is "
            f"{there}; it is left out of their figures"
        )
