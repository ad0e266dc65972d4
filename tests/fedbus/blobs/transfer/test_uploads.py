"""Uploads: chunk requests, multicasts, and blobs that are not found."""

from collections.abc import Iterable

import pytest

from fedbus.blobs.transfer.chunk import CONFIRM_SERIAL
from fedbus.blobs.transfer.multicast import HELD_SECONDS, QUIET_SECONDS
from fedbus.blobs.transfer.receiver import SILENT_SECONDS, WINDOW
from fedbus.blobs.transfer.uploads import (
    MAX_OPENING,
    MAX_WAITING,
    SLOW_SECONDS,
    OpenStored,
    SendChunk,
    Uploads,
    UploadStep,
)
from fedbus.core.actions import Send
from fedbus.wire.blobs import CHUNK_BYTES
from fedbus.wire.messages import BlobNotFound, ChunkRequest, Confirm, Join, Leave, UseUnicast
from tests.container_sizes import container_sizes
from tests.fedbus.blobs.transfer.simulation import IN_FLIGHT, Blob, Shelf, blob

MODEL = blob(20 * CHUNK_BYTES)
D = MODEL.digest


def uploads(in_flight: int = IN_FLIGHT, model: Blob = MODEL) -> Uploads:
    """Make the uploads of a node that serves one blob."""
    made = Uploads(in_flight)
    made.serve(model.digest, model)
    return made


def sent(answers: Iterable[UploadStep]) -> list[object]:
    """Chunks as (to, index), messages as (to, message), the others as they are."""
    found: list[object] = []
    for answer in answers:
        match answer:
            case SendChunk():
                found.append((answer.to, answer.index))
            case Send():
                found.append((answer.to, answer.message))
            case OpenStored():
                found.append(answer)
    return found


def streamed(*indices: int) -> list[object]:
    """Chunks of the multicast."""
    return [(None, index) for index in indices]


def join(to: Uploads, member: str, now: float, members: int = 2) -> list[object]:
    """A member joins."""
    return sent(to.join(member, Join(digest=D, members=members), now))


def confirm(to: Uploads, member: str, upto: int, now: float) -> list[object]:
    """A member confirms."""
    return sent(to.confirm(member, Confirm(digest=D, upto=upto), now))


def test_a_chunk_request_is_answered_with_the_chunks_it_names() -> None:
    """Under its serials, to the node that requested them; beyond the end there is nothing."""
    request = ChunkRequest(digest=D, serial=70, indices=(3, 19, 20, 4))
    assert list(uploads().request("agent.a", request, 0.0)) == [
        SendChunk("agent.a", D, MODEL, 70, 3),
        SendChunk("agent.a", D, MODEL, 71, 19),
        SendChunk("agent.a", D, MODEL, 73, 4),
    ]


def test_an_empty_blob_has_one_chunk() -> None:
    """And no second."""
    empty = blob(0)
    request = ChunkRequest(digest=empty.digest, serial=1, indices=(0, 1))
    assert sent(uploads(model=empty).request("agent.a", request, 0.0)) == [("agent.a", 0)]


def test_an_unknown_blob_is_not_found() -> None:
    """The requester learns it at once, instead of waiting for a minute."""
    bare = Uploads(IN_FLIGHT)
    not_found = [("agent.a", BlobNotFound(digest=D))]
    assert (
        sent(bare.request("agent.a", ChunkRequest(digest=D, serial=1, indices=(0,)), 0.0))
        == not_found
    )
    assert join(bare, "agent.a", 0.0) == not_found
    assert confirm(bare, "agent.a", 4, 0.0) == []
    assert sent(bare.leave("agent.a", Leave(digest=D), 0.0)) == []
    assert bare.next() is None


def test_the_library_holds_what_is_always_served() -> None:
    """What a service serves by name comes first, and may be taken back."""
    library = {D: MODEL}
    held = Uploads(IN_FLIGHT, Shelf(library))
    request = ChunkRequest(digest=D, serial=1, indices=(0,))
    assert sent(held.request("agent.a", request, 0.0)) == [("agent.a", 0)]
    held.serve(D, blob(CHUNK_BYTES))
    held.unserve(D)
    assert sent(held.request("agent.a", request, 0.0)) == [("agent.a", 0)]
    del library[D]
    assert sent(held.request("agent.a", request, 0.0)) == [OpenStored(D)]
    assert sent(held.opened(D, None, 0.0)) == [("agent.a", BlobNotFound(digest=D))]


def test_requests_wait_until_a_stored_blob_is_open() -> None:
    """It is opened once; then each gets what it asked for, chunks or a multicast."""
    shelf = Shelf({D: MODEL}, {D})
    node = Uploads(IN_FLIGHT, shelf)
    first, second = (ChunkRequest(digest=D, serial=s, indices=(s, s + 1)) for s in (1, 4))
    assert sent(node.request("agent.a", first, 0.0)) == [OpenStored(D)]
    assert sent(node.request("agent.a", second, 0.0)) == []
    assert join(node, "agent.b", 0.0, members=1) == []
    assert sent(node.opened(D, shelf.open_blob(D), 0.1)) == [
        *(("agent.a", index) for index in (1, 2, 4, 5)),
        *streamed(*range(8)),
    ]
    assert sent(node.request("agent.a", first, 0.2)) == [("agent.a", 1), ("agent.a", 2)]
    assert sent(node.opened(D, MODEL, 0.3)) == []


def test_a_blob_that_cannot_be_opened_now_is_asked_for_again() -> None:
    """The disk or the database may be back then: no node is told that the blob does not exist."""
    node = Uploads(IN_FLIGHT, Shelf({D: MODEL}, {D}))
    request = ChunkRequest(digest=D, serial=1, indices=(0,))
    assert sent(node.request("agent.a", request, 0.0)) == [OpenStored(D)]
    node.not_opened(D)
    assert sent(node.opened(D, MODEL, 0.1)) == []
    assert sent(node.request("agent.a", request, 0.2)) == [OpenStored(D)]
    assert list(node.reconnected()) == []
    assert sent(node.opened(D, MODEL, 0.3)) == []


def test_a_node_cannot_make_another_open_blobs_without_bounds() -> None:
    """Further digests and requests are dropped; their senders repeat them."""
    node = Uploads(IN_FLIGHT, Shelf({}))
    for number in range(MAX_OPENING + 5):
        request = ChunkRequest(digest=f"{number:064x}", serial=1, indices=(0,))
        opens = [OpenStored(request.digest)] if number < MAX_OPENING else []
        assert sent(node.request("agent.a", request, 0.0)) == opens
    for number in range(MAX_WAITING + 5):
        request = ChunkRequest(digest="0" * 64, serial=number, indices=(0,))
        assert sent(node.request(f"agent.{number}", request, 0.0)) == []
    assert len(sent(node.opened("0" * 64, None, 0.0))) == MAX_WAITING


def test_a_blob_does_not_exist_for_those_who_may_not_read_it() -> None:
    """They get the answer to an unknown digest, and start no multicast; its readers get chunks."""
    served = Uploads(IN_FLIGHT, Shelf({D: MODEL}))
    served.serve(D, MODEL, frozenset({"collector.1"}))
    request = ChunkRequest(digest=D, serial=1, indices=(0,))
    for stranger in ("repository.1", "user.1", "collector.2", "agent.a"):
        not_found = [(stranger, BlobNotFound(digest=D))]
        assert sent(served.request(stranger, request, 0.0)) == not_found
        assert join(served, stranger, 0.0, members=1) == not_found
        assert confirm(served, stranger, 8, 0.0) == []
        assert sent(served.leave(stranger, Leave(digest=D), 0.0)) == []
    assert served.next() is None
    assert sent(served.request("collector.1", request, 0.0)) == [("collector.1", 0)]
    assert join(served, "collector.1", 0.0, members=1) == streamed(*range(8))


def test_the_readers_of_a_blob_are_replaced() -> None:
    """By those of the last `serve`; without readers it is for any node."""
    served = Uploads(IN_FLIGHT)
    request = ChunkRequest(digest=D, serial=1, indices=(0,))
    chunk, not_found = ("agent.a", 0), ("agent.a", BlobNotFound(digest=D))
    for readers, answer in (
        (frozenset({"agent.a"}), chunk),
        (frozenset({"agent.b"}), not_found),
        (frozenset[str](), not_found),
        (None, chunk),
    ):
        served.serve(D, MODEL, readers)
        assert sent(served.request("agent.a", request, 0.0)) == [answer]


def test_a_blob_that_is_no_longer_served_ends_its_multicast() -> None:
    """Its members find out when they request chunks."""
    served = uploads()
    join(served, "agent.a", 0.0)
    served.unserve(D)
    assert served.next() is None
    assert confirm(served, "agent.a", 4, 0.0) == []


def test_members_share_one_stream() -> None:
    """It begins when all have come and ends when all have all of it."""
    served = uploads()
    assert join(served, "agent.a", 0.0) == []
    assert join(served, "agent.b", 0.01) == streamed(*range(8))
    assert confirm(served, "agent.a", 8, 0.02) == []
    assert confirm(served, "agent.b", 8, 0.02) == streamed(*range(8, 16))
    confirm(served, "agent.a", 16, 0.03)
    assert confirm(served, "agent.b", 16, 0.03) == streamed(16, 17, 18, 19)
    confirm(served, "agent.a", 20, 0.04)
    assert served.next() is not None
    confirm(served, "agent.b", 20, 0.04)
    assert served.next() is None


def test_present_members_do_not_wait_long_for_the_others() -> None:
    """The uploads says when to look, and starts then."""
    served = uploads()
    join(served, "agent.a", 0.0, members=9)
    assert served.next() == QUIET_SECONDS
    assert sent(served.due(QUIET_SECONDS)) == streamed(*range(8))


def test_members_that_stayed_away_are_not_awaited_twice() -> None:
    """The number of members absent from the last multicast is not awaited in the next."""
    served = uploads()

    def again() -> None:
        served.unserve(D)
        served.serve(D, MODEL)

    join(served, "agent.a", 0.0, members=3)
    join(served, "agent.b", 0.0, members=3)
    assert sent(served.due(QUIET_SECONDS)) == streamed(*range(8))
    again()
    assert join(served, "agent.a", 1.0, members=3) == []
    assert join(served, "agent.b", 1.0, members=3) == streamed(*range(8))
    assert join(served, "agent.slow", 1.1, members=3) == []
    again()
    join(served, "agent.a", 2.0, members=3)
    assert join(served, "agent.b", 2.0, members=3) == []
    assert join(served, "agent.slow", 2.0, members=3) == streamed(*range(8))


def test_a_slow_member_is_moved_to_unicast_and_stays_there_for_a_while() -> None:
    """Two minutes; the next multicast does not wait for it at all."""
    served = uploads()
    join(served, "agent.a", 0.0)
    join(served, "agent.slow", 0.0)
    confirm(served, "agent.a", 8, 0.0)
    assert served.next() == HELD_SECONDS
    lane = ("agent.slow", UseUnicast(digest=D))
    assert sent(served.due(HELD_SECONDS)) == [lane, *streamed(*range(8, 16))]
    served.unserve(D)
    served.serve(D, MODEL)
    assert join(served, "agent.slow", 1.0) == [lane]
    assert join(served, "agent.a", 1.0) == streamed(*range(8))
    served.unserve(D)
    served.serve(D, MODEL)
    later = HELD_SECONDS + SLOW_SECONDS
    assert join(served, "agent.slow", later) == []
    assert join(served, "agent.a", later) == streamed(*range(8))


def test_a_lone_slow_member_is_moved_to_unicast_and_the_multicast_ends() -> None:
    """Nothing waits for others that were never announced."""
    served = uploads()
    join(served, "agent.a", 0.0)
    join(served, "agent.slow", 0.0)
    confirm(served, "agent.a", 8, 0.0)
    list(served.due(HELD_SECONDS))
    served.unserve(D)
    served.serve(D, MODEL)
    assert join(served, "agent.slow", 1.0, members=1) == [("agent.slow", UseUnicast(digest=D))]
    assert served.next() is None


def test_a_node_that_joins_after_the_last_chunk_uses_unicast() -> None:
    """A second stream would come to those, too, to whom the first is still on its way."""
    small = blob(CHUNK_BYTES)
    served = uploads(model=small)
    sent(served.join("agent.a", Join(digest=small.digest, members=1), 0.0))
    assert sent(served.join("agent.b", Join(digest=small.digest, members=1), 0.1)) == [
        ("agent.b", UseUnicast(digest=small.digest))
    ]
    sent(served.request("agent.b", ChunkRequest(digest=small.digest, serial=1, indices=(0,)), 0.2))
    sent(served.confirm("agent.a", Confirm(digest=small.digest, upto=1), 0.2))
    again = sent(served.join("agent.b", Join(digest=small.digest, members=1), 0.3))
    assert again == [(None, 0)]


def test_a_node_that_requests_chunks_leaves_the_multicast() -> None:
    """It has left the multicast, though its message may be lost."""
    served = uploads()
    join(served, "agent.a", 0.0)
    join(served, "agent.b", 0.0)
    confirm(served, "agent.a", 8, 0.1)
    request = ChunkRequest(digest=D, serial=1, indices=(19,))
    assert sent(served.request("agent.b", request, 0.1)) == [
        ("agent.b", 19),
        *streamed(*range(8, 16)),
    ]


def test_a_member_that_leaves_is_not_awaited() -> None:
    """The last one ends the multicast."""
    served = uploads()
    join(served, "agent.a", 0.0)
    join(served, "agent.b", 0.0)
    confirm(served, "agent.a", 8, 0.1)
    leave = Leave(digest=D)
    assert sent(served.leave("agent.b", leave, 0.1)) == streamed(*range(8, 16))
    assert sent(served.leave("agent.a", leave, 0.1)) == []
    assert served.next() is None


def test_a_new_connection_ends_all_multicasts() -> None:
    """Their chunks may be lost, so the members request them; no member counts as slow for that."""
    served = uploads()
    join(served, "agent.a", 0.0)
    join(served, "agent.b", 0.0)
    assert sent(served.reconnected()) == [
        ("agent.a", UseUnicast(digest=D)),
        ("agent.b", UseUnicast(digest=D)),
    ]
    assert served.next() is None
    join(served, "agent.a", 1.0)
    assert join(served, "agent.b", 1.0) == streamed(*range(8))


def test_members_that_all_fall_silent_are_forgotten() -> None:
    """After a minute, each with a word that will not reach it."""
    served = uploads()
    join(served, "agent.a", 0.0)
    join(served, "agent.b", 0.0)
    assert served.next() == SILENT_SECONDS
    assert sent(served.due(SILENT_SECONDS)) == [
        ("agent.a", UseUnicast(digest=D)),
        ("agent.b", UseUnicast(digest=D)),
    ]
    assert served.next() is None


@pytest.mark.parametrize(
    ("in_flight_chunks", "members", "window"),
    [(256, 5, WINDOW), (256, 32, WINDOW), (256, 60, 4), (256, 500, 1), (5, 5, 1), (0, 1, 1)],
)
def test_many_members_shrink_the_window(in_flight_chunks: int, members: int, window: int) -> None:
    """What the broker may have to hold for all of them stays below the bound; it goes on still."""
    served = uploads(in_flight=in_flight_chunks * CHUNK_BYTES)
    names = [f"agent.{i}" for i in range(members)]
    answers: list[object] = []
    for name in names:
        answers += join(served, name, 0.0, members)
    assert answers == streamed(*range(window))
    cursor = window
    while cursor < 20:
        for name in names:
            answers = confirm(served, name, cursor, 0.0)
        cursor += len(answers)
        assert answers
    for name in names:
        confirm(served, name, 20, 0.0)
    assert served.next() is None


def test_small_blobs_are_measured_by_their_size() -> None:
    """A hundred members of a multicast of a few bytes do not shrink its window."""
    small = blob(1000)
    served = uploads(model=small)
    answers = [
        answer
        for i in range(100)
        for answer in served.join(f"agent.{i}", Join(digest=small.digest, members=100), 0.0)
    ]
    assert answers == [SendChunk(None, small.digest, small, CONFIRM_SERIAL, 0)]


def test_a_member_that_announces_no_others_is_served_at_once() -> None:
    """`members` is a guess, and may be zero."""
    assert join(uploads(), "agent.a", 0.0, members=0) == streamed(*range(8))


def test_messages_go_to_whom_they_concern() -> None:
    """Not by multicast."""
    answers = list(Uploads(IN_FLIGHT).join("agent.a", Join(digest=D, members=1), 0.0))
    assert answers == [Send("agent.a", BlobNotFound(digest=D))]


def test_a_member_that_was_slow_long_ago_is_forgotten() -> None:
    """A source must not remember each node that ever held a multicast back."""
    served, counts = uploads(), []
    for number in range(50):
        at = number * 2 * SLOW_SECONDS
        join(served, "agent.quick", at)
        join(served, f"agent.slow-{number}", at)
        confirm(served, "agent.quick", WINDOW, at + 0.1)
        list(served.due(at + 0.1 + HELD_SECONDS))
        served.unserve(D)
        served.serve(D, MODEL)
        counts.append(container_sizes(served)["Uploads._slow"])
    assert counts == [1] * 50
