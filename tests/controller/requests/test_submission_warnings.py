"""Warnings about metrics that the fleet cannot measure, when a job is submitted."""

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
    ids=["all can", "none can", "some cannot", "no agents", "no trainers", "a plug-in"],
)
def test_metrics_that_agents_cannot_measure_are_named(
    metrics: tuple[str, ...], online: list[tuple[str, ...]], sentences: list[str]
) -> None:
    """With the frameworks that have them, and those of the agents."""
    assert [*unmeasurable_metrics(parse(job(*metrics)), online)] == sentences


def test_a_job_with_a_framework_gets_no_warning() -> None:
    """Its file is refused if the framework cannot measure a metric."""
    chosen = job("auc", plugins={"trainer": "keras"})
    assert [*unmeasurable_metrics(parse(chosen), [("tflite",)])] == []
