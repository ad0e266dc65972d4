"""Every step of a core has a name, by which a fault test kills a service in the midst of it."""

from random import Random
from typing import Any

import pytest

from fedbus.core.actions import Ask, Cancel, Run, Send
from fedbus.core.events import Connected, Fetched, Ran, Received, RunFailed
from fedbus.core.interface import step_name
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.wire.messages import Receipt, StopJob
from tests.fedbus.blobs.transfer.simulation import MemorySink
from tests.fedbus.runtime.node.harness import OFFER, TASK, Fake, fetch
from tests.fedbus.wire.kinds import example
from tests.sample_key import SampleKey


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (Received("agent.a", OFFER), "received:Offer"),
        (Send("agent.a", example(Receipt)), "send:Receipt"),
        (Ask(SampleKey("k"), "agent.a", example(StopJob)), "send:StopJob"),
        (Run(SampleKey("fold", 1), lambda: None), "run:fold"),
        (Ran(SampleKey("fold", 1), None), "ran:fold"),
        (RunFailed(SampleKey("fold", 1), ValueError()), "runfailed:fold"),
        (fetch(SampleKey("base", 1), 0), "fetch:base"),
        (Fetched(SampleKey("base", 1), MemorySink(0)), "fetched:base"),
        (Connected(), "connected"),
        (Cancel(SampleKey("k")), "cancel"),
    ],
)
def test_every_step_of_a_core_has_a_name(step: Any, name: str) -> None:  # noqa: ANN401
    """By which a test kills a service in the midst of it."""
    assert step_name(step) == name


def test_an_observer_sees_each_step_before_it_is_performed() -> None:
    """Events and actions, in their order."""
    seen: list[str] = []
    core = Fake(
        answer=lambda _: [Send("controller.1", TASK), Run(SampleKey("train"), lambda: None)]
    )
    node = Node(Identity(name="agent.a", incarnation=1), core, Random(1), watch=seen.append)
    node.ran(SampleKey("go"), None, 0.0)
    assert seen == ["ran:go", "send:TaskTaken", "run:train"]
