"""Metrics that the fleet cannot measure are told when a job is submitted, not missed at its end."""

import json
from typing import Any

import pytest

from fedbus.jobs import parse
from fedbus_controller.requests.submission_warnings import unmeasurable_metrics


def job(*metrics: str, **more: Any) -> bytes:  # noqa: ANN401 - any key of a job file
    """Write a job that measures some metrics."""
    plain = {"training_id": "j", "model_name": "m", "num_rounds": 1, "eval_metrics": metrics}
    return json.dumps({**plain, **more}).encode()


@pytest.mark.parametrize(
    ("metrics", "online", "sentences"),
    [
        (("accuracy",), [("tflite",), ("torch",)], []),
        (
            ("accuracy", "auc"),
            [("tflite",), ("torch", "tflite")],
            [
                (
                    "eval_metrics 'auc': no agent that is online can measure it: keras has it, and "
                    "there is tflite, torch; it is left out of their metrics"
                )
            ],
        ),
        (
            ("auc",),
            [("keras", "tflite"), ("tflite",), ("tflite",)],
            [
                (
                    "eval_metrics 'auc': 2 of 3 agents that are online cannot measure it: keras "
                    "has it, and there is tflite; it is left out of their metrics"
                )
            ],
        ),
        (("auc",), [], []),
        (("auc",), [()], []),
        (("auc",), [("own", "tflite")], []),
    ],
    ids=["all can", "none can", "some cannot", "nobody is here", "nothing is said", "a plug-in"],
)
def test_metrics_that_agents_cannot_measure_are_named(
    metrics: tuple[str, ...], online: list[tuple[str, ...]], sentences: list[str]
) -> None:
    """With the framework that has them, and what there is instead."""
    assert [*unmeasurable_metrics(parse(job(*metrics)), online)] == sentences


def test_a_job_that_chooses_its_framework_was_judged_by_it_already() -> None:
    """Its file is refused where that cannot measure something."""
    chosen = job("auc", plugins={"trainer": "keras"})
    assert [*unmeasurable_metrics(parse(chosen), [("tflite",)])] == []
