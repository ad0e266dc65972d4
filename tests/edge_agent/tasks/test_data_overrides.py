"""Loaders and transforms that a job chooses: checked before inputs are fetched."""

from pathlib import Path
from typing import Any

import pytest

from fedbus.training.params import DataOverrides, PluginChoice, TrainingParams
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.messages import Decline, Evaluated, EvaluateTask, TrainTask
from fedbus_edge_agent import keys
from fedbus_edge_agent.training.trainers import Trainers
from tests.edge_agent.harness import (
    CONTROLLER,
    JOB,
    AgentHarness,
    evaluate,
    spec_of,
    train,
    version,
)


def asking(*steps: tuple[str, dict[str, Any]], loader: str | None = None) -> TrainingParams:
    """Return parameters that choose a loader and transforms."""
    transforms = tuple(PluginChoice(id=name, parameters=given) for name, given in steps)
    return TrainingParams(
        batch_size=4, data_overrides=DataOverrides(loader=loader, transforms=transforms)
    )


@pytest.fixture
def checking(tmp_path: Path) -> AgentHarness:
    """Return an agent that checks plug-ins; its data are eight rows of four numbers."""
    return AgentHarness(tmp_path, trainers=Trainers(factories={"tiny": unused_trainer}))


def unused_trainer(_: object) -> Any:  # noqa: ANN401 - never made
    """Fail: this trainer is never loaded."""
    raise AssertionError


LOST = asking(("lost", {}))
WIDE = asking(
    ("reshape", {"size": (2, 2, 1)}),
    ("resize", {"size": (4096, 4096)}),
    ("resize", {"size": (2, 2)}),
)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (train(params=LOST), "no transforms plug-in named 'lost'; installed: "),
        (evaluate(params=LOST), "no transforms plug-in named 'lost'; installed: "),
        (
            train(params=asking(loader="npz")),
            "plugins.loader is 'npz', but these data are in memory",
        ),
        (train(params=asking(("reshape", {"size": (5,)}))), "plugins.transforms[0] (reshape): num"),
        (train(params=WIDE), "10 rows of up to 67108872 bytes need about 2560 MiB of memory"),
        (evaluate(params=WIDE), "10 rows of up to 67108872 bytes need about 2560 MiB of memory"),
    ],
)
def test_a_task_whose_data_cannot_be_read_is_declined_before_anything_is_fetched(
    checking: AgentHarness, order: TrainTask | EvaluateTask, reason: str
) -> None:
    """No round counts on it."""
    checking.receive(CONTROLLER, order)
    answers: list[Decline | Evaluated] = [*checking.sent(Decline), *checking.sent(Evaluated)]
    (answer,) = answers
    assert answer.reason.startswith(reason)
    assert checking.fetches == {}


def test_a_models_input_is_compared_with_the_output_of_the_jobs_transforms(
    checking: AgentHarness,
) -> None:
    """Not with the format that the agent publishes."""
    checking.form = {"x": {"data_types": {"numerical": {"size": [4]}}}}
    wants = {"data_types": {"image": {"size": [2, 2, 1]}}}
    spec = spec_of(wants, tiny={})
    key = keys.TaskInputFetch(keys.TrainingWork(JOB, 1), blob_ref_of(spec).digest)
    checking.receive(CONTROLLER, train(base=version(spec=spec)))
    checking.complete_fetch(key, spec)
    declined = checking.asked(keys.TaskReply(JOB, 1), Decline)
    assert declined.reason == "the model takes image [2, 2, 1]; the data here is numerical [4]"
    shaped = train(2, base=version(spec=spec), params=asking(("reshape", {"size": (2, 2, 1)})))
    checking.receive(CONTROLLER, shaped)
    assert any(key.task == keys.TrainingWork(JOB, 2) for key in checking.input_fetches())
