"""Data that change during a job: a task loads them before the agent has checked them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedbus.core.actions import Introduce, WakeAt
from fedbus.core.events import Woke
from fedbus.wire.messages import Decline, Evaluated, Offer
from fedbus_edge_agent import keys
from fedbus_edge_agent.host.data_watch import DATA_CHECK_SECONDS
from tests.edge_agent.harness import CONTROLLER, JOB, AgentHarness, evaluate, train


@dataclass
class ChangingData:
    """Data that a task may load again."""

    loads: int = 0
    trouble: str = ""
    notes: Sequence[str] = ()

    def has_settled_change(self) -> bool:
        return False

    def reload(self) -> None:
        raise AssertionError("no look has found anything")


def classes(*names: str) -> dict[str, Any]:
    """Return a data format whose classes have names."""
    return {"y": {"data_types": {"categorical": {"size": [1], "classes": list(names)}}}}


def announced(harness: AgentHarness) -> int:
    """Count how often new data were announced."""
    return sum(note.event == "data_loaded" for note in harness.notes)


def harness_of(folder: Path) -> tuple[AgentHarness, ChangingData]:
    """Return an agent whose classes are oak and elm, and its data."""
    data = ChangingData()
    harness = AgentHarness(folder, data=data)
    harness.form = classes("oak", "elm")
    return harness, data


def test_an_update_from_data_of_other_classes_is_not_offered(tmp_path: Path) -> None:
    """The controller asked an agent with these classes; it judges again for the next round."""
    harness, data = harness_of(tmp_path)
    harness.receive(CONTROLLER, train())
    harness.deliver_inputs()
    harness.form, data.loads = classes("elm", "oak"), 1
    harness.run_calls()
    assert announced(harness) == 1
    declined = harness.asked(keys.TaskReply(JOB, 1), Decline)
    assert declined.reason == (
        "the data changed: the classes are elm, oak now, "
        "and were oak, elm when this agent was asked"
    )
    harness.run_calls()
    assert harness.files() == []
    assert isinstance(harness.trained(train(2)), Offer)  # asked as it is by now


def test_a_result_from_new_data_with_the_same_names_counts(tmp_path: Path) -> None:
    """The data are announced at once, for example their number of examples."""
    harness, data = harness_of(tmp_path)
    harness.receive(CONTROLLER, train())
    harness.deliver_inputs()
    data.loads = 1
    harness.run_calls()
    assert announced(harness) == 1
    assert isinstance(harness.offered(), Offer)


def test_an_evaluation_on_data_of_other_classes_fails(tmp_path: Path) -> None:
    """A failure with another reason keeps that reason."""
    harness, data = harness_of(tmp_path)
    for number, failure, expected in ((2, None, "were oak, elm"), (3, ValueError("torn"), "torn")):
        harness.receive(CONTROLLER, evaluate(number))
        harness.deliver_inputs()
        harness.form, data.loads = classes("elm"), number
        harness.runner.failure = None if failure is None else lambda: ValueError("torn")
        harness.run_calls()
        score = harness.sent_to(CONTROLLER, Evaluated)
        assert expected in score.reason
        harness.form = classes("oak", "elm")


def test_new_data_that_a_dropped_task_loaded_are_announced_by_the_next_check(
    tmp_path: Path,
) -> None:
    """The agent does not wait for its next periodic publication."""
    harness, data = harness_of(tmp_path)
    data.loads = 1
    look = keys.DataCheck()
    assert Introduce() in harness.handle(Woke(look))
    assert harness.handle(Woke(look)) == [WakeAt(look, harness.now + DATA_CHECK_SECONDS)]
