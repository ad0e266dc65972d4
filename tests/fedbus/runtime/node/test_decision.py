"""Actions of a core become packets, timers and runs."""

from dataclasses import replace

import pytest

from fedbus.core.actions import Announce, Ask, Cancel, Clear, Note, Reply, Run, Send, WakeAt
from fedbus.core.events import Ran, ReplyTo, RunFailed, Woke
from fedbus.mqtt.bus import Packet
from fedbus.runtime.effects import Publish, StartRun
from fedbus.wire import codec, topics
from fedbus.wire.documents import JobState, NodeState
from fedbus.wire.topics import ROOT
from tests.fedbus.runtime.node.harness import OFFER, TASK, Fake, a_node, act, link, messages
from tests.fedbus.wire.kinds import example
from tests.sample_key import SampleKey


def test_a_sent_message_is_published_once() -> None:
    """To the topic of its name."""
    core = Fake()
    node = a_node(core)
    assert act(node, core, Send("controller.1", TASK)) == [
        Publish(link("agent.a", "controller.1", TASK))
    ]
    assert node.next_wake() is None


def test_what_is_asked_is_repeated_until_it_is_cancelled() -> None:
    """After a second, and at once when the connection was away."""
    core = Fake()
    node = a_node(core)
    said = Publish(link("agent.a", "controller.1", TASK))
    assert act(node, core, Ask(SampleKey("t", 1), "controller.1", TASK)) == [said]
    at = node.next_wake()
    assert at is not None
    assert at == pytest.approx(1.0, abs=0.2)
    node.tick(at)
    assert node.take_effects() == [said]
    node.connected(5.0)
    assert said in node.take_effects()
    act(node, core, Cancel(SampleKey("t", 1)))
    node.tick(100.0)
    assert said not in node.take_effects()


def test_what_rides_along_the_first_time_is_not_repeated() -> None:
    """An offer's bytes, for one."""
    core = Fake()
    node = a_node(core)
    short = replace(OFFER, inline=None)
    effects = act(node, core, Ask(SampleKey("o"), "collector.1", short, first=OFFER))
    assert messages(effects) == [OFFER]
    node.tick(1.3)
    assert messages(node.take_effects()) == [short]


def test_a_core_is_woken_when_it_wished_to_be() -> None:
    """Once, at the last time it named; cancelled is cancelled."""
    core = Fake()
    node = a_node(core)
    act(
        node,
        core,
        WakeAt(SampleKey("a"), 5.0),
        WakeAt(SampleKey("b"), 6.0),
        WakeAt(SampleKey("a"), 7.0),
    )
    assert node.next_wake() == 6.0
    act(node, core, Cancel(SampleKey("b")))
    core.told.clear()
    node.tick(100.0)
    assert core.told == [Woke(SampleKey("a"))]
    assert node.next_wake() is None


def test_a_core_that_cancels_a_timer_is_not_woken_by_it() -> None:
    """Though its time had come in the same moment; nor twice, if it wishes for now."""
    core = Fake()
    node = a_node(core)
    act(node, core, WakeAt(SampleKey("a"), 5.0), WakeAt(SampleKey("b"), 5.0))
    core.told.clear()
    core.answer = lambda _: [Cancel(SampleKey("b")), WakeAt(SampleKey("a"), 5.0)]
    node.tick(5.0)
    assert core.told == [Woke(SampleKey("a"))]


def test_no_core_can_stop_the_heart() -> None:
    """Whatever keys it takes."""
    core = Fake()
    node = a_node(core)
    node.connected(0.0)
    act(node, core, Cancel(SampleKey("heartbeat")), WakeAt(SampleKey("heartbeat"), 1.0))
    core.told.clear()
    node.take_effects()
    node.tick(1.0)
    assert core.told == [Woke(SampleKey("heartbeat"))]
    node.tick(5.0)
    assert len(node.take_effects()) == 1


def test_a_run_is_started_and_its_result_becomes_an_event() -> None:
    """As a result, or as the error it raised."""
    core = Fake()
    node = a_node(core)

    def work() -> int:
        return 7

    assert act(node, core, Run(SampleKey("train", 1), work)) == [
        StartRun(SampleKey("train", 1), work)
    ]
    core.told.clear()
    error = ValueError("no")
    node.ran(SampleKey("train", 1), 7, 0.0)
    node.run_failed(SampleKey("train", 2), error, 0.0)
    assert core.told == [Ran(SampleKey("train", 1), 7), RunFailed(SampleKey("train", 2), error)]


def test_public_messages_are_encoded_as_the_table_says() -> None:
    """Address from their fields, retained or not, with an expiry; cleared; answered."""
    core = Fake()
    node = a_node(core, "controller.1")
    job, beat = example(JobState), example(NodeState)
    effects = act(
        node,
        core,
        Announce(topics.JOB_STATE, job),
        Clear(topics.JOB_STATE, {"job": "old"}),
        Reply(ReplyTo("my/topic", b"7", "x"), b"yes", "application/json"),
        Note("job_ended", {"job": "digits-1"}),
    )
    assert effects == [
        Publish(
            Packet(
                f"{ROOT}/jobs/job/state",
                codec.to_json(job),
                retain=True,
                content_type="application/json",
                expiry=topics.JOB_STATE.expiry,
            )
        ),
        Publish(Packet(f"{ROOT}/jobs/old/state", b"", retain=True)),
        Publish(Packet("my/topic", b"yes", content_type="application/json", correlation=b"7")),
        Note("job_ended", {"job": "digits-1"}),
    ]
    msgpack = replace(topics.NODE_STATE, encoding="msgpack", retain=False, expiry=None)
    [announced] = act(node, core, Announce(msgpack, beat))
    assert announced == Publish(Packet(f"{ROOT}/nodes/agent.pi-7/state", codec.pack(beat)))
