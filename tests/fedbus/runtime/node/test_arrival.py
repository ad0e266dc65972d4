"""Packets that arrive at a node become events, or notes that they could not be read."""

from dataclasses import replace

import pytest

from fedbus.blobs.transfer.chunk import write_chunk
from fedbus.core.actions import Quit, Settle
from fedbus.core.events import Local, Received, ReplyTo, Requested
from fedbus.mqtt.bus import Packet
from fedbus.runtime.effects import Acknowledge, Misread
from fedbus.wire import codec, topics
from fedbus.wire.documents import Heartbeat, JobState, NodeState
from fedbus.wire.topics import ROOT
from tests.fedbus.runtime.node.harness import TASK, Fake, a_node, act, link
from tests.fedbus.wire.kinds import example


def test_a_message_becomes_an_event_with_its_sender() -> None:
    """Typed, and from whom the address says."""
    core = Fake()
    a_node(core, "controller.1").receive(link("agent.a", "controller.1", TASK), 0.0)
    assert core.told == [Received("agent.a", TASK)]


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        pytest.param(
            replace(link("agent.a", "controller.1", TASK), payload=b"\xc1"),
            "TaskTaken: not msgpack",
            id="not msgpack",
        ),
        pytest.param(
            Packet(f"{ROOT}/link/agent.a/controller.1/receipt", codec.pack(TASK)),
            "receipt: no agent may send this to a controller",
            id="a message of other roles",
        ),
        pytest.param(
            Packet(f"{ROOT}/link/agent.a/controller.1/nonsense", b""),
            "no such message or sender",
            id="an unknown message",
        ),
        pytest.param(
            link("agent.a", "controller.2", TASK), "not a topic of ours", id="another's mail"
        ),
        pytest.param(
            Packet("fedbus/v2/link/agent.a/controller.1/task_taken", codec.pack(TASK)),
            "not a topic of ours",
            id="another root",
        ),
        pytest.param(Packet("fedbus", b""), "not a topic of ours", id="less than the root"),
        pytest.param(
            Packet(f"{ROOT}/link/agent.a/controller.1/chunk", b"x"),
            "chunk: expected 21 to 262165 bytes, got 1",
            id="a chunk that is none",
        ),
        pytest.param(
            Packet(f"{ROOT}/blobs/agent.a/{'0' * 64}", write_chunk(1, 2, b"x")[:-1] + b"y"),
            "chunk 2: damaged",
            id="a damaged chunk of a group",
        ),
        pytest.param(
            Packet(f"{ROOT}/jobs/other/state", codec.to_json(example(JobState))),
            "JobState.job: expected 'other' as in the topic",
            id="a state under another's name",
        ),
        pytest.param(
            Packet(f"{ROOT}/nodes/unnamed/heartbeat", codec.pack(example(Heartbeat))),
            "unnamed: not a node's name",
            id="a heartbeat without a role",
        ),
        pytest.param(
            Packet(f"{ROOT}/nodes/agent.a/state", b"{"), "NodeState: not JSON", id="not JSON"
        ),
    ],
)
def test_what_cannot_be_read_is_noted_and_nothing_else_happens(packet: Packet, reason: str) -> None:
    """The core never hears of it, and the service lives."""
    core = Fake()
    node = a_node(core, "controller.1")
    node.receive(packet, 0.0)
    [misread] = node.take_effects()
    assert isinstance(misread, Misread)
    assert misread.topic == packet.topic
    assert reason in misread.reason
    assert core.told == []


def test_public_messages_become_typed_events() -> None:
    """JSON or msgpack as the table says; from the node that the topic names, where it names one."""
    core = Fake()
    node = a_node(core, "controller.1")
    state, beat, job = example(NodeState), example(Heartbeat), example(JobState)
    node.receive(Packet(f"{ROOT}/nodes/{state.node}/state", codec.to_json(state)), 0.0)
    node.receive(Packet(f"{ROOT}/nodes/agent.b/heartbeat", codec.pack(beat)), 0.0)
    node.receive(Packet(f"{ROOT}/jobs/{job.job}/state", codec.to_json(job)), 0.0)
    assert core.told == [Received(state.node, state), Received("agent.b", beat), Received("", job)]


def test_a_cleared_message_is_no_message() -> None:
    """A retained state was taken back."""
    core = Fake()
    node = a_node(core, "controller.1")
    node.receive(Packet(f"{ROOT}/jobs/j/state", b""), 0.0)
    assert core.told == []
    assert node.take_effects() == []


@pytest.mark.parametrize(
    ("asked", "open_profile", "answered"),
    [
        (f"{ROOT}/replies/me", False, True),
        (f"{ROOT}/jobs/j/state", False, False),
        ("my/topic", False, False),
        ("my/topic", True, True),
        (None, True, False),
    ],
)
def test_a_foreign_client_is_answered_only_where_it_could_publish_itself(
    asked: str | None, open_profile: bool, answered: bool
) -> None:
    """Its request counts in any case."""
    core = Fake()
    node = a_node(core, "controller.1", open_profile=open_profile)
    node.receive(
        Packet(f"{ROOT}/submit", b"{}", content_type="x", response_topic=asked, correlation=b"7"),
        0.0,
    )
    reply = ReplyTo(str(asked), b"7", "x") if answered else None
    (request,) = core.told
    assert isinstance(request, Requested)
    assert (request.unanswerable == "") == answered
    assert replace(request, unanswerable="") == Requested(topics.SUBMIT, {}, b"{}", "x", reply)


def test_a_local_request_becomes_an_event_and_quit_becomes_an_effect() -> None:
    """With or without a broker."""
    core = Fake(answer=lambda event: [Quit(75, "hung")] if isinstance(event, Local) else [])
    node = a_node(core)
    node.receive_local("begin", 1.0)
    assert core.told == [Local("begin")]
    assert node.take_effects() == [Quit(75, "hung")]


def test_a_request_is_acknowledged_when_its_core_has_settled_it() -> None:
    """Not on arrival; and a receipt of a connection that is over is worth nothing."""
    core = Fake((topics.SUBMIT, topics.JOB_STATE))
    node = a_node(core, "controller.1")
    assert node.kept_subscriptions() == [f"{ROOT}/submit"]
    node.connected(0.0)
    node.take_effects()
    node.receive(Packet(f"{ROOT}/submit", b"{}", receipt=5, redelivered=True), 0.0)
    assert node.take_effects() == []
    (request,) = [event for event in core.told if isinstance(event, Requested)]
    assert request.redelivered
    assert request.receipt is not None
    assert act(node, core, Settle(request.receipt)) == [Acknowledge(5)]
    node.connected(1.0)
    node.take_effects()
    assert act(node, core, Settle(request.receipt)) == []


def test_what_is_no_request_is_acknowledged_at_once() -> None:
    """Readable or not: no other node handles it, and the broker would deliver it without end."""
    node = a_node(Fake((topics.JOB_STATE,)), "controller.1")
    state = codec.to_json(example(JobState))
    place = f"{ROOT}/jobs/{example(JobState).job}/state"
    node.receive(Packet(place, state, receipt=6), 0.0)
    assert node.take_effects() == [Acknowledge(6)]
    node.receive(Packet(place, b"{", receipt=7), 0.0)
    misread, acknowledged = node.take_effects()
    assert isinstance(misread, Misread)
    assert acknowledged == Acknowledge(7)
