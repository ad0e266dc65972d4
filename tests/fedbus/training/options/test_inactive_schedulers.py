"""Schedulers that start again in every round, and never act."""

from typing import Any

import pytest

from fedbus.training.options.inactive_schedulers import inactive_reason
from fedbus.training.params import Argument, SchedulerParams, TrainingParams

STEP = SchedulerParams("steplr", {"step_size": 3})
DECAY = SchedulerParams("exponentiallr", {"gamma": 0.5})
CYCLE = SchedulerParams("cycliclr", {"base_lr": 0.1, "max_lr": 1.0})


def chosen(name: str, parts: tuple[SchedulerParams, ...] = (), **args: Argument) -> SchedulerParams:
    """Name a scheduler."""
    return SchedulerParams(name, args, parts)


@pytest.mark.parametrize(
    ("scheduler", "after"),
    [
        (STEP, 3),
        (DECAY, 1),
        (chosen("multisteplr", milestones=(4, 2)), 2),
        (chosen("lambdalr", lr_lambda="step", gamma=0.5, step_size=2), 2),
        (chosen("lambdalr", lr_lambda="inverse", decay=0.5), 1),
        (chosen("reducelronplateau"), 11),
        (chosen("reducelronplateau", patience=0), 2),
        (chosen("reducelronplateau", patience=3), 4),
        (chosen("earlystopping"), 2),
        (chosen("earlystopping", patience=3, baseline=0.5), 3),
        (chosen("chainedscheduler", (STEP, DECAY)), 1),
        (chosen("sequentiallr", (STEP, DECAY), milestones=(2,)), 2),
        (chosen("sequentiallr", (DECAY, STEP), milestones=(2,)), 1),
    ],
    ids=str,
)
def test_a_scheduler_acts_after_some_epochs_at_the_earliest(
    scheduler: SchedulerParams, after: int
) -> None:
    """With as few in a round it changes nothing; with one more it may."""
    sentence = inactive_reason(TrainingParams(scheduler=scheduler, epochs=after))
    assert sentence.startswith(f"scheduler_config: {scheduler.name} starts again in every round")
    assert "with round.keep_optimizer_state: true it continues" in sentence
    assert inactive_reason(TrainingParams(scheduler=scheduler, epochs=after + 1)) == ""
    assert (
        inactive_reason(TrainingParams(scheduler=scheduler, epochs=1, keep_optimizer_state=True))
        == ""
    )


@pytest.mark.parametrize(
    "scheduler",
    [
        None,
        CYCLE,
        chosen("terminateonnan"),
        chosen("linearlr", start_factor=0.5),
        chosen("multiplicativelr", lr_lambda="constant", factor=0.5),
        chosen("earlystopping", restore_best_weights=True),
        chosen("chainedscheduler", (STEP, CYCLE)),
        chosen("sequentiallr", (STEP, CYCLE), milestones=(2,)),
    ],
    ids=str,
)
def test_some_act_within_the_first_epoch(scheduler: SchedulerParams | None) -> None:
    """After a batch, or by what they begin with."""
    assert inactive_reason(TrainingParams(scheduler=scheduler, epochs=1)) == ""


@pytest.mark.parametrize(("epochs", "words"), [(1, "has 1 epoch,"), (3, "has 3 epochs,")])
def test_the_warning_counts_as_people_do(epochs: int, words: str) -> None:
    """One epoch, three epochs."""
    wanted: dict[str, Any] = {"scheduler": STEP, "epochs": epochs}
    assert words in inactive_reason(TrainingParams(**wanted))
