"""Data that change while an agent is in a job: a task finds them before the agent has looked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedbus.core.actions import Introduce, WakeAt
from fedbus.core.events import Woke
from fedbus.wire.messages import Decline, Evaluated, Offer
from fedbus_edge_agent import keys
from fedbus_edge_agent.host.data_watch import LOOK_SECONDS
from tests.edge_agent.stand import CONTROLLER, JOB, Stand, evaluate, train


@dataclass
class Changing:
    """Data that a task may load anew."""

    loads: int = 0
    trouble: str = ""
    notes: Sequence[str] = ()

    def look(self) -> bool:
        return False

    def reload(self) -> None:
        raise AssertionError("no look has found anything")


def classes(*names: str) -> dict[str, Any]:
    """A format whose classes have names."""
    return {"y": {"data_types": {"categorical": {"size": [1], "classes": list(names)}}}}


def announced(stand: Stand) -> int:
    """Count how often new data were announced."""
    return sum(note.event == "data_loaded" for note in stand.notes)


def stand_of(folder: Path) -> tuple[Stand, Changing]:
    """An agent of oaks and elms, with a task that is about to be worked on."""
    data = Changing()
    stand = Stand(folder, data=data)
    stand.form = classes("oak", "elm")
    return stand, data


def test_an_update_from_data_of_other_classes_is_not_offered(tmp_path: Path) -> None:
    """The controller asked an agent of these classes; the next round it judges anew."""
    stand, data = stand_of(tmp_path)
    stand.hear(CONTROLLER, train())
    stand.bring()
    stand.form, data.loads = classes("elm", "oak"), 1
    stand.work()
    assert announced(stand) == 1
    declined = stand.asked(keys.TaskReply(JOB, 1), Decline)
    assert declined.reason == (
        "the data changed: the classes are elm, oak now, "
        "and were oak, elm when this agent was asked"
    )
    stand.work()
    assert stand.files() == []
    assert isinstance(stand.trained(train(2)), Offer)  # asked as it is by now


def test_new_data_of_the_same_names_count(tmp_path: Path) -> None:
    """They are announced at once: how many examples there are, say."""
    stand, data = stand_of(tmp_path)
    stand.hear(CONTROLLER, train())
    stand.bring()
    data.loads = 1
    stand.work()
    assert announced(stand) == 1
    assert isinstance(stand.offered(), Offer)


def test_a_score_of_data_of_other_classes_is_none(tmp_path: Path) -> None:
    """A failure that has a reason of its own keeps it."""
    stand, data = stand_of(tmp_path)
    for number, failure, said in ((2, None, "were oak, elm"), (3, ValueError("torn"), "torn")):
        stand.hear(CONTROLLER, evaluate(number))
        stand.bring()
        stand.form, data.loads = classes("elm"), number
        stand.bench.failure = None if failure is None else lambda: ValueError("torn")
        stand.work()
        score = stand.told(CONTROLLER, Evaluated)
        assert said in score.reason
        stand.form = classes("oak", "elm")


def test_what_a_dropped_task_has_found_is_announced_by_the_next_look(tmp_path: Path) -> None:
    """Nobody waits for the minute in which an agent introduces itself anyhow."""
    stand, data = stand_of(tmp_path)
    data.loads = 1
    look = keys.DataCheck()
    assert Introduce() in stand.tell(Woke(look))
    assert stand.tell(Woke(look)) == [WakeAt(look, stand.now + LOOK_SECONDS)]
