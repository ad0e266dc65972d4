"""Whole transfers, over links that lose, repeat, delay and break: see simulation.py."""

from dataclasses import dataclass
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbus.blobs.transfer.downloads import MAX_OUTSTANDING
from fedbus.blobs.transfer.multicast import HELD_SECONDS
from fedbus.blobs.transfer.receiver import LONGEST_TIMEOUT_SECONDS, SILENT_SECONDS, WINDOW
from fedbus.wire.blobs import CHUNK_BYTES
from tests.fedbus.blobs.transfer.simulation import BROKER_QUEUE, Blob, Link, Peer, World, blob
from tests.sample_key import SampleKey

MBIT = 125_000
FAULTS_END = 20.0
"""Faults that last are another matter: a source unheard for 60 s is given up."""

BASE = SampleKey("base")


@dataclass(frozen=True)
class Break:
    """A peer loses its connection for a while; `restarts` tells whether it dies, too."""

    at: float
    away: float
    peer: int
    restarts: bool


RATES = st.sampled_from([MBIT, 10 * MBIT, 100 * MBIT, 1000 * MBIT])
CLEAN = st.builds(Link, rate=RATES, delay=st.sampled_from([0.0, 0.001, 0.05, 0.6]))
FAULTY = st.builds(
    Link,
    rate=RATES,
    delay=st.sampled_from([0.0, 0.001, 0.05, 0.6]),
    loss=st.sampled_from([0.0, 0.01, 0.2]),
    duplicates=st.sampled_from([0.0, 0.2]),
    jitter=st.sampled_from([0.0, 0.01, 1.0]),
)
BREAKS = st.builds(
    Break,
    at=st.floats(0.0, FAULTS_END - 6),
    away=st.floats(0.0, 5.0),
    peer=st.integers(0, 5),
    restarts=st.booleans(),
)
SIZES = st.integers(0, 12 * CHUNK_BYTES) | st.sampled_from(
    [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES, 8 * CHUNK_BYTES + 1]
)


def a_source(world: World, wanted: Blob, link: Link | None = None) -> Peer:
    """Add a peer that serves a blob."""
    source = Peer(world, "repository.1", link)
    source.blobs[wanted.digest] = wanted
    return source


def a_fleet(world: World, links: list[Link | None]) -> list[Peer]:
    """Add peers that may fetch."""
    return [Peer(world, f"agent.{i}", link) for i, link in enumerate(links)]


def break_connections(world: World, breaks: list[Break]) -> None:
    """Break and restore the connections of peers."""
    peers = list(world.peers.values())
    for b in breaks:
        peer = peers[b.peer % len(peers)]
        world.at(b.at, peer.leave)
        world.at(b.at + b.away, partial(peer.come_back, restarted=b.restarts))


def check_all_here(members: list[Peer], wanted: Blob) -> None:
    """Every member holds the exact bytes, written once, and is at rest."""
    for member in members:
        assert member.failed == {}
        assert member.done.keys() == {BASE}, f"{member.name} has not finished"
        sink = member.sink(BASE)
        assert sink.content == wanted.content
        assert set(sink.writes.values()) <= {1}
        assert member.downloads.outstanding == 0
        assert len(member.downloads) == 0
        assert member.downloads.next() is None
        assert member.most_outstanding <= WINDOW


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    size=SIZES,
    source_link=FAULTY,
    links=st.lists(st.tuples(FAULTY, st.booleans(), st.floats(0, 2)), min_size=1, max_size=5),
    breaks=st.lists(BREAKS, max_size=4),
)
def test_every_receiver_gets_the_exact_bytes_whatever_happens_on_the_way(
    seed: int,
    size: int,
    source_link: Link,
    links: list[tuple[Link, bool, float]],
    breaks: list[Break],
) -> None:
    """Loss, repetition, reordering, reconnects and restarts of either side cost time, not bytes."""
    world = World(seed, faults_until=FAULTS_END)
    wanted = blob(size)
    source = a_source(world, wanted, source_link)
    members = a_fleet(world, [link for link, _, _ in links])
    for member, (_, grouped, begins) in zip(members, links, strict=True):
        count = len(members) if grouped else 0
        world.at(begins, partial(member.fetch, BASE, wanted, source, count))
    break_connections(world, breaks)
    slowest = min(member.link.rate for member in (source, *members))
    # The bytes of all members in a row, twice, and the time to detect that all before was lost.
    world.run(FAULTS_END + SILENT_SECONDS + 2 * len(members) * size / slowest)
    check_all_here(members, wanted)
    world.run(world.now + 2 * SILENT_SECONDS)
    assert source.uploads.next() is None


@settings(max_examples=150)
@given(
    size=SIZES,
    source_link=CLEAN.filter(lambda link: link.rate > 10 * MBIT and link.delay < 0.1),
    links=st.lists(st.tuples(CLEAN, st.booleans(), st.floats(0, 0.04)), min_size=1, max_size=5),
)
def test_no_chunk_comes_twice_where_nothing_is_lost(
    size: int, source_link: Link, links: list[tuple[Link, bool, float]]
) -> None:
    """The timeout grows with slow links; a node that leaves a multicast requests from the end."""
    world = World()
    wanted = blob(size)
    source = a_source(world, wanted, source_link)
    members = a_fleet(world, [link for link, _, _ in links])
    for member, (_, grouped, begins) in zip(members, links, strict=True):
        count = len(members) if grouped else 0
        world.at(begins, partial(member.fetch, BASE, wanted, source, count))
    slowest = min(member.link.rate for member in (source, *members))
    world.run(60 + 2 * len(members) * size / slowest)
    check_all_here(members, wanted)
    for member, (_, grouped, _) in zip(members, links, strict=True):
        assert sum(member.arrived.values()) <= wanted.blob_ref.count + grouped, member.name


@settings(max_examples=30)
@given(
    size=SIZES,
    link=CLEAN.filter(lambda link: link.delay < 0.1),
    joins=st.lists(st.floats(0, 0.04), min_size=1, max_size=6),
)
def test_a_model_leaves_its_source_once_for_a_multicast(
    size: int, link: Link, joins: list[float]
) -> None:
    """Members who join within 50 ms of each other share one stream, however slow they all are."""
    world = World()
    wanted = blob(size)
    source = a_source(world, wanted)
    members = a_fleet(world, [link] * len(joins))
    for member, at in zip(members, joins, strict=True):
        world.at(at, partial(member.fetch, BASE, wanted, source, len(joins)))
    world.run(100)
    check_all_here(members, wanted)
    assert world.left == dict.fromkeys(
        ((wanted.digest, i) for i in range(wanted.blob_ref.count)), 1
    )
    # Every member may hold a window of chunks, and half a dozen words.
    assert world.most_held <= len(members) * (WINDOW + 6)


@pytest.mark.parametrize("rate", [MBIT // 4, MBIT, 4 * MBIT], ids=["0.25", "1", "4 Mbit/s"])
def test_a_slow_link_is_kept_busy_and_carries_no_chunk_twice(rate: int) -> None:
    """12 chunks take at most a tenth longer than the link needs for them.

    Only a first chunk that takes longer than four seconds is wanted again; its time is a lesson.
    """
    world = World()
    wanted = blob(12 * CHUNK_BYTES)
    [agent] = a_fleet(world, [Link(rate=rate, delay=0.02)])
    agent.fetch(BASE, wanted, a_source(world, wanted))
    world.run(1000)
    check_all_here([agent], wanted)
    assert agent.done[BASE] <= 1.1 * wanted.size / rate
    assert world.left.total() <= 12 + (rate < MBIT)


def test_a_slow_source_keeps_its_members_in_the_multicast() -> None:
    """Members that wait alike are not slow: unicast would carry the model three times."""
    world = World()
    wanted = blob(12 * CHUNK_BYTES)
    source = a_source(world, wanted, Link(rate=MBIT))
    members = a_fleet(world, [None] * 3)
    for member in members:
        member.fetch(BASE, wanted, source, 3)
    world.run(100)
    check_all_here(members, wanted)
    assert set(world.left.values()) == {1}
    assert max(m.done[BASE] for m in members) <= 1.05 * wanted.size / MBIT


def test_a_slow_member_costs_the_others_a_third_of_a_second() -> None:
    """It goes on by itself, at the speed of its link, and nearly nothing comes to it twice."""
    took = {}
    for slow_link in (None, Link(rate=MBIT, delay=0.02)):
        world = World()
        wanted = blob(20 * CHUNK_BYTES)
        source = a_source(world, wanted)
        slow, *fast = a_fleet(world, [slow_link, *[Link(rate=1000 * MBIT)] * 4])
        for member in (slow, *fast):
            member.fetch(BASE, wanted, source, 5)
        world.run(200)
        check_all_here([slow, *fast], wanted)
        took[slow_link] = max(m.done[BASE] for m in fast)
        assert slow.done[BASE] <= 1.1 * wanted.size / MBIT
        assert sum(slow.arrived.values()) <= wanted.blob_ref.count + 1
    undisturbed, disturbed = took.values()
    assert disturbed - undisturbed <= HELD_SECONDS + 0.05


@pytest.mark.parametrize("members", [0, 4], ids=["unicast", "multicast"])
def test_a_download_from_a_dead_source_fails(members: int) -> None:
    """Within a minute of silence and one pause; what others fetch is not disturbed."""
    world = World()
    wanted = blob(20 * CHUNK_BYTES)
    source = a_source(world, wanted)
    fleet = a_fleet(world, [Link(rate=10 * MBIT)] * 4)
    for member in fleet:
        member.fetch(BASE, wanted, source, members)
    world.at(1.0, source.leave)
    world.run(1.0 + SILENT_SECONDS + LONGEST_TIMEOUT_SECONDS)
    for member in fleet:
        assert member.failed == {BASE: "no chunk from repository.1 for a minute"}
        assert member.downloads.outstanding == 0
        assert member.downloads.next() is None


def test_a_stalled_member_without_further_messages_is_forgotten() -> None:
    """Nothing is kept for a dead member: neither chunks nor a multicast that waits for it."""
    world = World()
    wanted = blob(20 * CHUNK_BYTES)
    source = a_source(world, wanted)
    dead, *alive = a_fleet(world, [None] * 3)
    for member in (dead, *alive):
        member.fetch(BASE, wanted, source, 3)
    world.at(0.001, dead.leave)
    world.run(SILENT_SECONDS - 1)
    check_all_here(alive, wanted)
    assert all(m.done[BASE] <= HELD_SECONDS + 0.1 for m in alive)
    assert source.uploads.next() is not None
    world.run(SILENT_SECONDS + 1)
    assert source.uploads.next() is None


def test_a_chunk_that_an_earlier_process_requested_is_not_taken_for_another_blobs() -> None:
    """Serials begin anywhere, so that a restarted node is not fooled by what was on its way."""
    world = World()
    first, second = blob(4 * CHUNK_BYTES, "a"), blob(4 * CHUNK_BYTES, "b")
    source = a_source(world, first, Link(rate=MBIT))
    source.blobs[second.digest] = second
    [agent] = a_fleet(world, [None])
    agent.fetch(BASE, first, source)
    world.run(1.0)
    agent.leave()
    del agent.fetches[BASE]
    agent.come_back(restarted=True)
    agent.fetch(BASE, second, source)
    world.run(100)
    check_all_here([agent], second)


def test_many_blobs_at_once_stay_within_what_the_broker_keeps() -> None:
    """A fleet's offers do not overrun the queue that control messages share; all arrive."""
    world = World()
    wanted = blob(100_000)
    collector = Peer(world, "collector.1", Link(rate=1000 * MBIT))
    agents = a_fleet(world, [Link(rate=100 * MBIT)] * 120)
    for agent in agents:
        agent.blobs[wanted.digest] = wanted
        collector.fetch(SampleKey(agent.name), wanted, agent)
    world.run(10)
    assert len(collector.done) == 120
    assert collector.failed == {}
    assert collector.most_outstanding == MAX_OUTSTANDING
    assert world.most_held <= BROKER_QUEUE
    assert world.left.total() == 120
