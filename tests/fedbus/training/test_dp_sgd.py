"""DP-SGD in a job: its steps, and the parameters that it cannot keep."""

from dataclasses import replace

import pytest

from fedbus.training.dp_sgd import (
    DpSgdSteps,
    dp_sgd_bytes,
    dp_sgd_fault,
    dp_sgd_steps,
    rows_at_once,
)
from fedbus.training.params import (
    DpSgdParams,
    SchedulerParams,
    SchedulerPart,
    TrainingParams,
    WarmupParams,
)

BY_LOSS = SchedulerParams("reducelronplateau")


def test_the_steps_of_dp_sgd_follow_from_the_job_alone() -> None:
    """So that one ε holds for all agents: the rate is that of the fewest examples allowed."""
    params = TrainingParams(batch_size=32, epochs=3)
    assert dp_sgd_steps(params, 100) == DpSgdSteps(4, 3, 0.25)
    assert dp_sgd_steps(params, 100).total == 12
    assert dp_sgd_steps(replace(params, steps_per_epoch=2), 100) == DpSgdSteps(2, 3, 0.25)
    assert dp_sgd_steps(replace(params, steps_per_epoch=9), 100) == DpSgdSteps(4, 3, 0.25)
    assert dp_sgd_steps(params, 1) == DpSgdSteps(1, 3, 1.0)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, ""),
        ({"optimizer": "adam", "scheduler": SchedulerParams("steplr")}, ""),
        ({"warmup": WarmupParams(epochs=1)}, ""),
        ({"optimizer": "lbfgs"}, "the optimizer lbfgs computes the gradients of a batch many"),
        ({"optimizer": "sparseadam"}, "the optimizer sparseadam changes only the numbers that an"),
        ({"scheduler": BY_LOSS}, "the scheduler reducelronplateau follows the loss"),
        (
            {
                "scheduler": SchedulerParams(
                    "chainedscheduler", parts=(SchedulerPart("reducelronplateau"),)
                )
            },
            "the scheduler reducelronplateau follows the loss",
        ),
        (
            {"warmup": WarmupParams(epochs=1, scheduler=BY_LOSS)},
            "the scheduler reducelronplateau follows the loss",
        ),
        ({"precision": "mixed"}, "DP-SGD computes in full precision only"),
    ],
)
def test_what_dp_sgd_cannot_keep_is_a_fault(changes: dict[str, object], fault: str) -> None:
    """Its gradients would be used without noise, or not as they are accounted for."""
    found = dp_sgd_fault(TrainingParams(**changes))  # type: ignore[arg-type]  # parameters
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


def test_memory_for_the_gradients_of_examples_is_estimated() -> None:
    """Of a batch, of as many as fit into 256 MiB, or of one."""
    params = TrainingParams(
        batch_size=32, dp_sgd=DpSgdParams(noise_multiplier=1.0, least_examples=9)
    )
    mebi = 2**20
    assert dp_sgd_bytes(params, mebi) == 3 * 32 * mebi
    assert dp_sgd_bytes(params, 64 * mebi) == 3 * 4 * 64 * mebi
    assert dp_sgd_bytes(params, 300 * mebi) == 3 * 300 * mebi
    assert dp_sgd_bytes(replace(params, dp_sgd=None), mebi) == 0
    assert rows_at_once(32, 0) == 32
