"""A node between a core and a bus: what arrives becomes events, what is decided becomes packets."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from fedbus.actions import (
    Action,
    Announce,
    Ask,
    Cancel,
    Clear,
    Connected,
    Event,
    Fetch,
    Fetched,
    FetchFailed,
    Introduce,
    Key,
    Local,
    Note,
    Quit,
    Ran,
    Received,
    Reply,
    ReplyTo,
    Requested,
    Run,
    RunFailed,
    Send,
    Serve,
    Stopping,
    Unserve,
    WakeAt,
    Woke,
    step_name,
)
from fedbus.bus.base import Packet
from fedbus.bus.memory import MemoryBroker
from fedbus.effects import Effect, Misread, Publish, PublishChunk, StartRun, Subscribe, Unsubscribe
from fedbus.node import INTRODUCE_BEATS, Identity, Node
from fedbus.transfer.chunk import read_chunk, write_chunk
from fedbus.wire import codec, topics
from fedbus.wire.messages import (
    Confirm,
    Gone,
    Join,
    Leave,
    Offer,
    Receipt,
    StopJob,
    TakeLane,
    TaskTaken,
    Want,
)
from fedbus.wire.states import AgentFacts, Heartbeat, JobState, NodeState
from fedbus.wire.topics import ROOT, Topic
from fedbus.wire.values import CHUNK, Manifest, Reference
from tests.fedbus.transfer.simulation import Blob, Shelf, blob
from tests.fedbus.wire.kinds import example

MODEL = blob(3 * CHUNK)
FACTS = example(AgentFacts)
TASK = TaskTaken(job="digits-1", task=7)
OFFER = example(Offer)


@dataclass
class Fake:
    """A core that remembers what it is told and answers as it is told to."""

    listens: tuple[Topic, ...] = ()
    told: list[Event] = field(default_factory=list)
    answer: Callable[[Event], list[Action]] = lambda _: []
    known: AgentFacts | None = None

    def facts(self) -> AgentFacts | None:
        return self.known

    def progress(self) -> float:
        return 0.25

    def handle(self, event: Event, now: float) -> Iterator[Action]:  # noqa: ARG002 - as cores do
        self.told.append(event)
        yield from self.answer(event)


def a_node(core: Fake | None = None, name: str = "agent.a", **settings: Any) -> Node:  # noqa: ANN401
    """A node on nobody's bus."""
    return Node(Identity(name=name, incarnation=3, **settings), core or Fake(), Random(1))


def link(sender: str, to: str, message: object) -> Packet:
    """A message as it arrives."""
    return Packet(topics.link_topic(ROOT, sender, to, type(message)), codec.pack(message))


def act(node: Node, core: Fake, *actions: Action, now: float = 0.0) -> list[Effect]:
    """Let a core wish for something; what is to be done?"""
    core.answer = lambda _: list(actions)
    node.ran(("go",), None, now)
    core.answer = lambda _: []
    return node.take()


def messages(effects: list[Effect]) -> list[object]:
    """What is said to other nodes, read again, in order."""
    packets = [effect.packet for effect in effects if isinstance(effect, Publish)]
    return [
        codec.unpack(topics.link_of(*packet.topic.split("/")[-3:]).message, packet.payload)
        for packet in packets
        if "/link/" in packet.topic
    ]


# ── presence ──────────────────────────────────────────────────────────────────────────────────────


def test_a_node_says_who_it_is_whenever_it_connects() -> None:
    """Its state, retained; a heartbeat; then its core may speak."""
    core = Fake(known=FACTS)
    node = a_node(core, version="1.2")
    node.connected(10.0)
    state, beat = [effect.packet for effect in node.take() if isinstance(effect, Publish)]
    assert state.topic == f"{ROOT}/nodes/agent.a/state"
    assert state.retain
    assert state.content_type == "application/json"
    assert codec.from_json(NodeState, state.payload) == NodeState(
        node="agent.a", incarnation=3, online=True, version="1.2", agent=FACTS
    )
    assert beat.topic == f"{ROOT}/nodes/agent.a/heartbeat"
    assert codec.unpack(Heartbeat, beat.payload).progress == 0.25
    assert core.told == [Connected()]
    assert node.next_wake() == 15.0
    assert node.progress() == 0.25


def test_what_comes_in_by_another_door_is_told_and_a_wish_to_leave_is_passed_on() -> None:
    """With or without a broker."""
    core = Fake(answer=lambda event: [Quit(75, "hung")] if isinstance(event, Local) else [])
    node = a_node(core)
    node.told("begin", 1.0)
    assert core.told == [Local("begin")]
    assert node.take() == [Quit(75, "hung")]


def test_a_heart_beats_and_now_and_then_a_node_says_again_who_it_is() -> None:
    """In case that whoever keeps the list missed it; `vitals` are measured at each beat."""
    measured = iter(range(100))
    node = Node(
        Identity(name="agent.a", incarnation=3, heartbeat_seconds=2.0),
        Fake(),
        Random(1),
        vitals=lambda: (float(next(measured)), 50.0),
    )
    node.connected(0.0)
    for _ in range(INTRODUCE_BEATS - 1):
        at = node.next_wake()
        assert at is not None
        node.tick(at)
    packets = [effect.packet for effect in node.take() if isinstance(effect, Publish)]
    beats = [codec.unpack(Heartbeat, p.payload) for p in packets if p.topic.endswith("/heartbeat")]
    assert [beat.load for beat in beats] == [float(n) for n in range(INTRODUCE_BEATS)]
    assert [p.topic.endswith("/state") for p in packets].count(True) == 2


def test_the_will_says_that_a_node_is_gone_and_so_does_the_node_when_it_leaves() -> None:
    """Without its facts: they are those of a node that is there."""
    core = Fake(known=FACTS)
    node = a_node(core)
    will = node.will()
    assert will.retain
    state = codec.from_json(NodeState, will.payload)
    assert (state.online, state.agent) == (False, None)
    node.stopping(5.0)
    assert core.told == [Stopping()]
    assert node.take() == [Publish(will)]


def test_a_core_may_introduce_its_node_anew() -> None:
    """Its facts have changed."""
    core = Fake()
    node = a_node(core)
    core.known = FACTS
    [introduced] = act(node, core, Introduce())
    assert isinstance(introduced, Publish)
    assert codec.from_json(NodeState, introduced.packet.payload).agent == FACTS


def test_a_node_subscribes_to_its_mail_and_to_what_its_core_reads() -> None:
    """Requests for inference go to one replica of all."""
    node = a_node(Fake((topics.MODEL_LATEST, topics.INFERENCE)), "inference.1")
    assert node.subscriptions() == [
        f"{ROOT}/link/+/inference.1/+",
        f"{ROOT}/models/+/latest",
        f"$share/inference/{ROOT}/inference/+/request",
    ]


# ── what arrives ──────────────────────────────────────────────────────────────────────────────────


def test_a_message_is_told_with_its_sender() -> None:
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
            "receipt: a agent does not say that to a controller",
            id="a message of other roles",
        ),
        pytest.param(
            Packet(f"{ROOT}/link/agent.a/controller.1/nonsense", b""),
            "no such message or sender",
            id="a message nobody knows",
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
            "chunk: 1 bytes",
            id="a chunk that is none",
        ),
        pytest.param(
            Packet(f"{ROOT}/blobs/agent.a/{'0' * 64}", write_chunk(1, 2, b"x")[:-1] + b"y"),
            "chunk 2: damaged",
            id="a damaged chunk of a group",
        ),
        pytest.param(
            Packet(f"{ROOT}/jobs/other/state", codec.to_json(example(JobState))),
            "JobState.job says other than its topic",
            id="a state under another's name",
        ),
        pytest.param(
            Packet(f"{ROOT}/nodes/nobody/heartbeat", codec.pack(example(Heartbeat))),
            "nobody: not a node's name",
            id="a heartbeat of nobody",
        ),
        pytest.param(
            Packet(f"{ROOT}/nodes/agent.a/state", b"{"), "NodeState.message", id="not JSON"
        ),
    ],
)
def test_what_cannot_be_read_is_noted_and_nothing_else_happens(packet: Packet, reason: str) -> None:
    """The core never hears of it, and the service lives."""
    core = Fake()
    node = a_node(core, "controller.1")
    node.receive(packet, 0.0)
    [misread] = node.take()
    assert isinstance(misread, Misread)
    assert misread.topic == packet.topic
    assert reason in misread.reason
    assert core.told == []


def test_public_messages_are_told_as_what_they_are() -> None:
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
    assert node.take() == []


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
    assert core.told == [Requested(topics.SUBMIT, {}, b"{}", "x", reply)]


# ── what is decided ───────────────────────────────────────────────────────────────────────────────


def test_what_is_sent_is_said_once() -> None:
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
    assert act(node, core, Ask(("t", 1), "controller.1", TASK)) == [said]
    at = node.next_wake()
    assert at is not None
    assert at == pytest.approx(1.0, abs=0.2)
    node.tick(at)
    assert node.take() == [said]
    node.connected(5.0)
    assert said in node.take()
    act(node, core, Cancel(("t", 1)))
    node.tick(100.0)
    assert said not in node.take()


def test_what_rides_along_the_first_time_is_not_repeated() -> None:
    """An offer's bytes, for one."""
    core = Fake()
    node = a_node(core)
    short = replace(OFFER, inline=None)
    effects = act(node, core, Ask(("o",), "collector.1", short, first=OFFER))
    assert messages(effects) == [OFFER]
    node.tick(1.3)
    assert messages(node.take()) == [short]


def test_a_core_is_woken_when_it_wished_to_be() -> None:
    """Once, at the last time it named; cancelled is cancelled."""
    core = Fake()
    node = a_node(core)
    act(node, core, WakeAt(("a",), 5.0), WakeAt(("b",), 6.0), WakeAt(("a",), 7.0))
    assert node.next_wake() == 6.0
    act(node, core, Cancel(("b",)))
    core.told.clear()
    node.tick(100.0)
    assert core.told == [Woke(("a",))]
    assert node.next_wake() is None


def test_a_core_that_cancels_a_timer_is_not_woken_by_it() -> None:
    """Though its time had come in the same moment; nor twice, if it wishes for now."""
    core = Fake()
    node = a_node(core)
    act(node, core, WakeAt(("a",), 5.0), WakeAt(("b",), 5.0))
    core.told.clear()
    core.answer = lambda _: [Cancel(("b",)), WakeAt(("a",), 5.0)]
    node.tick(5.0)
    assert core.told == [Woke(("a",))]


def test_no_core_can_stop_the_heart() -> None:
    """Whatever keys it takes."""
    core = Fake()
    node = a_node(core)
    node.connected(0.0)
    act(node, core, Cancel(("heartbeat",)), WakeAt(("heartbeat",), 1.0))
    core.told.clear()
    node.take()
    node.tick(1.0)
    assert core.told == [Woke(("heartbeat",))]
    node.tick(5.0)
    assert len(node.take()) == 1


def test_work_is_started_and_its_end_is_told() -> None:
    """As a result, or as the error it raised."""
    core = Fake()
    node = a_node(core)

    def work() -> int:
        return 7

    assert act(node, core, Run(("train", 1), work)) == [StartRun(("train", 1), work)]
    core.told.clear()
    error = ValueError("no")
    node.ran(("train", 1), 7, 0.0)
    node.run_failed(("train", 2), error, 0.0)
    assert core.told == [Ran(("train", 1), 7), RunFailed(("train", 2), error)]


def test_public_words_are_written_as_the_table_says() -> None:
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
    msgpack = replace(topics.NODE_STATE, encoding="msgpack", retain=False)
    [announced] = act(node, core, Announce(msgpack, beat))
    assert announced == Publish(Packet(f"{ROOT}/nodes/agent.pi-7/state", codec.pack(beat)))


# ── blobs ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_served_blob_is_read_when_its_chunk_has_its_turn() -> None:
    """Not before, so that a long queue holds no data; the last slice is shorter."""
    core = Fake()
    node = a_node(core, "repository.1")
    odd = blob(CHUNK + 10)
    act(node, core, Serve(odd.digest, odd))
    want = Want(digest=odd.digest, serial=5, indices=(1,))
    node.receive(link("agent.a", "repository.1", want), 0.0)
    [effect] = node.take()
    assert isinstance(effect, PublishChunk)
    packet = effect.packet()
    assert packet.topic == f"{ROOT}/link/repository.1/agent.a/chunk"
    chunk = read_chunk(packet.payload)
    assert (chunk.serial, chunk.index, chunk.data) == (5, 1, odd.read(CHUNK, 10))
    act(node, core, Unserve(odd.digest))
    node.receive(link("agent.a", "repository.1", want), 0.0)
    assert messages(node.take()) == [Gone(digest=odd.digest)]


def test_the_words_of_a_transfer_are_the_nodes_business() -> None:
    """No core hears of wants and joins."""
    core = Fake()
    node = a_node(core, "repository.1")
    d = MODEL.digest
    act(node, core, Serve(d, MODEL))
    core.told.clear()
    for message in (
        Join(digest=d, members=1),
        Confirm(digest=d, upto=3),
        Leave(digest=d),
        TakeLane(digest=d),
        Gone(digest=d),
    ):
        sender = "agent.b"
        node.receive(link(sender, "repository.1", message), 0.0)
    streamed = [effect.topic for effect in node.take() if isinstance(effect, PublishChunk)]
    assert streamed == [f"{ROOT}/blobs/repository.1/{d}"] * 3
    assert core.told == []


def test_a_new_connection_ends_the_groups_that_are_served() -> None:
    """Their members are told to take lanes."""
    core = Fake()
    node = a_node(core, "repository.1")
    act(node, core, Serve(MODEL.digest, MODEL))
    node.receive(link("agent.b", "repository.1", Join(digest=MODEL.digest, members=2)), 0.0)
    node.take()
    node.connected(1.0)
    assert messages(node.take()) == [TakeLane(digest=MODEL.digest)]


def fetch(key: Key, members: int, source: str = "repository.1", wanted: Blob = MODEL) -> Fetch:
    """The wish for a blob."""
    return Fetch(
        key,
        Reference(manifest=Manifest(digest=wanted.digest, size=wanted.size), source=source),
        Shelf(wanted.size),
        members,
    )


def test_two_fetches_of_one_group_share_a_subscription() -> None:
    """The last to leave unsubscribes, and a new connection has none."""
    core = Fake()
    node = a_node(core)
    topic = f"{ROOT}/blobs/repository.1/{MODEL.digest}"

    def followed(*actions: Action) -> list[Effect]:
        effects = act(node, core, *actions)
        return [e for e in effects if isinstance(e, Subscribe | Unsubscribe)]

    assert followed(fetch(("a",), 2)) == [Subscribe(topic)]
    assert followed(fetch(("b",), 2)) == []
    assert followed(Cancel(("a",))) == []
    assert followed(Cancel(("b",))) == [Unsubscribe(topic)]
    assert followed(fetch(("c",), 2)) == [Subscribe(topic)]
    node.connected(1.0)
    effects = node.take()
    assert not [e for e in effects if isinstance(e, Subscribe | Unsubscribe)]
    assert [type(m) for m in messages(effects)] == [Want]


def test_a_fetch_that_fails_is_told() -> None:
    """At once if the source says so, after a minute if it says nothing."""
    core = Fake()
    node = a_node(core)
    act(node, core, fetch(("a",), 0))
    core.told.clear()
    node.receive(link("repository.1", "agent.a", Gone(digest=MODEL.digest)), 0.0)
    assert core.told == [FetchFailed(("a",), "repository.1 does not hold aaaaaaaaaaaa")]
    act(node, core, fetch(("a",), 0))
    core.told.clear()
    while (at := node.next_wake()) is not None:
        node.tick(at)
    assert core.told == [FetchFailed(("a",), "no chunk from repository.1 for a minute")]


def test_serials_of_two_lives_differ() -> None:
    """A chunk on its way to the process before is none that this one wants."""
    firsts = set()
    for life in range(20):
        core = Fake()
        node = Node(Identity(name="agent.a", incarnation=life), core, Random(life))
        [want] = messages(act(node, core, fetch(("a",), 0)))
        assert isinstance(want, Want)
        firsts.add(want.serial)
    assert len(firsts) == 20


class House:
    """Nodes on one broker in memory, everything delivered at once and in order."""

    def __init__(self) -> None:
        self.queue: list[tuple[str, Packet]] = []
        self.broker = MemoryBroker(lambda name, packet: self.queue.append((name, packet)))
        self.nodes: dict[str, Node] = {}
        self.cores: dict[str, Fake] = {}
        self.chunks: list[str] = []

    def add(self, name: str, answer: Callable[[Event], list[Action]] = lambda _: []) -> Fake:
        core = self.cores[name] = Fake(answer=answer)
        node = self.nodes[name] = a_node(core, name)
        self.broker.connect(name, node.subscriptions(), node.will())
        node.connected(0.0)
        return core

    def perform(self, now: float) -> None:
        for name, node in self.nodes.items():
            for effect in node.take():
                match effect:
                    case Publish(packet):
                        self.broker.publish(name, packet)
                    case PublishChunk(topic):
                        self.chunks.append(topic)
                        self.broker.publish(name, effect.packet())
                    case Subscribe(topic):
                        self.broker.subscribe(name, topic)
                    case Unsubscribe(topic):
                        self.broker.unsubscribe(name, topic)
                    case _:
                        pytest.fail(f"{name}: {effect}")
        while self.queue:
            name, packet = self.queue.pop(0)
            self.nodes[name].receive(packet, now)

    def run(self, seconds: float) -> None:
        for step in range(int(seconds * 100)):
            for node in self.nodes.values():
                node.tick(step / 100)
            for _ in range(9):
                self.perform(step / 100)


@pytest.mark.parametrize("members", [0, 3], ids=["lanes", "group"])
def test_blobs_cross_a_broker_with_its_rules_on(members: int) -> None:
    """Real packets, real topics: three agents have the model, and nobody did what he may not."""
    house = House()
    house.add("repository.1", lambda e: [Serve(MODEL.digest, MODEL)] * isinstance(e, Connected))
    for name in ("agent.a", "agent.b", "agent.c"):
        base = fetch(("base",), members)
        core = house.add(name, lambda e, base=base: [base] * isinstance(e, Connected))  # type: ignore[misc]
        core.known = FACTS
    house.run(0.5)
    for name in ("agent.a", "agent.b", "agent.c"):
        [done] = [event for event in house.cores[name].told if isinstance(event, Fetched)]
        assert isinstance(done.sink, Shelf)
        assert done.sink.content == MODEL.content
    assert len(house.chunks) == (3 if members else 9)
    assert house.broker.violations == []


# ── names for fault tests ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (Received("agent.a", OFFER), "received:Offer"),
        (Send("agent.a", example(Receipt)), "send:Receipt"),
        (Ask(("k",), "agent.a", example(StopJob)), "send:StopJob"),
        (Run(("fold", 1), lambda: None), "run:fold"),
        (Ran(("fold", 1), None), "ran:fold"),
        (RunFailed(("fold", 1), ValueError()), "runfailed:fold"),
        (fetch(("base", 1), 0), "fetch:base"),
        (Fetched(("base", 1), Shelf(0)), "fetched:base"),
        (Connected(), "connected"),
        (Cancel(("k",)), "cancel"),
    ],
)
def test_every_step_of_a_core_has_a_name(step: Any, name: str) -> None:  # noqa: ANN401
    """By which a test kills a service in the midst of it."""
    assert step_name(step) == name


def test_whoever_watches_sees_each_step_before_it_is_done() -> None:
    """Events and actions, in their order."""
    seen: list[str] = []
    core = Fake(answer=lambda _: [Send("controller.1", TASK), Run(("train",), lambda: None)])
    node = Node(Identity(name="agent.a", incarnation=1), core, Random(1), watch=seen.append)
    node.ran(("go",), None, 0.0)
    assert seen == ["ran:go", "send:TaskTaken", "run:train"]
