"""State of one download: next requests, lost chunks, timeouts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.blobs.transfer.chunk import Chunk
from fedbus.blobs.transfer.receiver import (
    FAST_SECONDS,
    FIRST_SECONDS,
    LONGEST_TIMEOUT_SECONDS,
    LOST_SECONDS,
    SILENT_SECONDS,
    WINDOW,
    Receiver,
)
from fedbus.wire.blobs import CHUNK_BYTES, BlobLocation
from tests.fedbus.blobs.transfer.simulation import MemorySink, blob
from tests.sample_key import SampleKey


def receiver(size: int = 20 * CHUNK_BYTES, members: int = 0) -> Receiver:
    """Make the receiver of a blob at time 0."""
    location = BlobLocation(blob_ref=blob(size).blob_ref, source="repository.1")
    return Receiver(SampleKey("base"), location, MemorySink(size), members, 0.0)


def chunk(serial: int, index: int, size: int = 20 * CHUNK_BYTES) -> Chunk:
    """A chunk of that blob."""
    return Chunk(serial, index, memoryview(blob(size).read(index * CHUNK_BYTES, CHUNK_BYTES)))


def opened(window: int = WINDOW) -> tuple[Receiver, int]:
    """A receiver whose window has opened by quick arrivals, at time 0, and its next serial."""
    r = receiver()
    for i in range(window - 1):
        r.request(i + 1, 1, 0.0)
        assert r.write_requested(chunk(i + 1, i), 0.0)
    return r, window


def test_the_window_opens_by_one_with_every_quick_arrival() -> None:
    """From one chunk to eight, and no further."""
    r = receiver()
    appetites = []
    for i in range(10):
        appetites.append(r.requestable)
        r.request(i + 1, 1, 0.0)
        r.write_requested(chunk(i + 1, i), 0.1)
    assert appetites == [1, 2, 3, 4, 5, 6, 7, 8, 8, 8]


def test_the_window_closes_again_where_the_link_is_slow() -> None:
    """More on its way would only wait in the broker; one chunk always may."""
    r, serial = opened(4)
    for i in range(6):
        r.request(serial + i, 1, 10.0 * i)
        assert r.write_requested(chunk(serial + i, serial - 1 + i), 10.0 * i + FAST_SECONDS)
    assert r.requestable == 1


def test_it_requests_each_chunk_once_from_the_beginning() -> None:
    """And no more of them than are missing."""
    r, serial = opened(4)
    assert r.request(serial, r.requestable, 0.0) == (3, 4, 5, 6)
    assert r.requestable == 0
    assert r.outstanding == 4
    small = receiver(CHUNK_BYTES + 1)
    assert small.request(1, 1, 0.0) == (0,)
    small.write_requested(chunk(1, 0, CHUNK_BYTES + 1), 0.0)
    assert small.requestable == 1  # its window would hold two
    assert small.request(2, 1, 0.0) == (1,)
    assert small.write_requested(chunk(2, 1, CHUNK_BYTES + 1), 0.0)
    assert small.complete
    assert small.sink.content == blob(CHUNK_BYTES + 1).content  # type: ignore[attr-defined]


def test_an_empty_blob_is_one_empty_chunk() -> None:
    """So that its arrival is seen as any other's."""
    r = receiver(0)
    assert not r.complete
    assert r.request(1, 1, 0.0) == (0,)
    assert r.write_requested(chunk(1, 0, 0), 0.0)
    assert r.complete


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(chunk(1, 1), id="another index than was wanted by that serial"),
        pytest.param(chunk(2, 0), id="a serial that was never given out"),
        pytest.param(chunk(0, 0), id="a group's chunk"),
        pytest.param(Chunk(1, 0, memoryview(bytes(CHUNK_BYTES - 1))), id="too short"),
        pytest.param(Chunk(1, 0, memoryview(b"")), id="empty"),
    ],
)
def test_a_chunk_that_was_not_requested_is_not_written(wrong: Chunk) -> None:
    """A source cannot write bytes that were not requested."""
    r = receiver()
    r.request(1, 1, 0.0)
    assert not r.write_requested(wrong, 0.0)
    assert r.outstanding == 1
    assert r.sink.writes.total() == 0  # type: ignore[attr-defined]
    assert r.write_requested(chunk(1, 0), 0.0)


def test_what_lies_beyond_the_end_is_not_written() -> None:
    """Even if a multicast brings it, with the right length."""
    r = receiver(2 * CHUNK_BYTES, members=3)
    assert not r.write_multicast(chunk(0, 2), 0.0)
    assert not r.write_multicast(Chunk(0, 1, memoryview(bytes(CHUNK_BYTES + 1))), 0.0)
    assert r.upto == 0


def test_a_chunk_that_comes_twice_is_written_once() -> None:
    """The second has no serial any more."""
    r = receiver()
    r.request(1, 1, 0.0)
    assert r.write_requested(chunk(1, 0), 0.0)
    assert not r.write_requested(chunk(1, 0), 0.0)
    assert r.write_multicast(chunk(0, 0), 0.0)
    assert r.sink.writes == {0: 1}  # type: ignore[attr-defined]


def test_a_chunk_requested_before_a_later_arrival_is_lost() -> None:
    """A broker keeps one sender's order, so there is nothing to wait for."""
    r, serial = opened(4)
    r.request(serial, 4, 0.0)
    assert r.write_requested(chunk(serial + 2, 5), 0.0)
    assert r.outstanding == 1
    assert r.request(serial + 4, 2, 0.0) == (3, 4)


def test_what_was_counted_as_lost_is_welcome_when_it_comes() -> None:
    """It is as good as its repetition, which then changes nothing."""
    r, serial = opened(4)
    r.request(serial, 4, 0.0)
    r.write_requested(chunk(serial + 3, 6), 0.0)
    r.request(serial + 4, 1, 0.0)
    assert r.write_requested(chunk(serial, 3), 0.0)
    assert r.write_requested(chunk(serial + 4, 3), 0.0)
    assert r.sink.writes[3 * CHUNK_BYTES] == 1  # type: ignore[attr-defined]
    assert r.request(serial + 5, 1, 0.0) == (4,)
    assert set(r.serials) == {serial + 1, serial + 2, serial + 5}


def test_serials_may_restart() -> None:
    """Order is the order of wanting, not of numbers."""
    r, _ = opened(4)
    r.request(2**32 - 200, 1, 0.0)
    r.request(1, 2, 0.0)
    assert r.write_requested(chunk(2**32 - 200, 3), 0.0)
    assert r.outstanding == 2
    assert r.write_requested(chunk(1, 4), 0.0)
    assert r.outstanding == 1


def test_the_first_chunk_is_given_four_seconds() -> None:
    """At 1 Mbit/s it takes two; then patience doubles, up to half a minute."""
    r = receiver()
    pauses, now = [], 0.0
    for serial in range(1, 6):
        assert r.requestable == 1
        r.request(serial, 1, now)
        at = r.check_at()
        assert at is not None
        r.expire(at - 0.001)
        assert r.requestable == 0
        r.expire(at)
        pauses.append(at - now)
        now = at
    assert pauses == [FIRST_SECONDS, 8.0, 16.0, LONGEST_TIMEOUT_SECONDS, SILENT_SECONDS - 58.0]


def test_patience_is_four_times_what_a_chunk_takes() -> None:
    """And at least two seconds, at most thirty."""
    for took, expected in (
        (0.001, LOST_SECONDS),
        (1.0, 4.0),
        (2.1, 8.4),
        (20.0, LONGEST_TIMEOUT_SECONDS),
    ):
        r = receiver()
        r.request(1, 1, 0.0)
        r.write_requested(chunk(1, 0), took)
        r.request(2, 1, 100.0)
        assert r.check_at() == pytest.approx(100.0 + expected)


def test_patience_is_smoothed_over_eight_arrivals() -> None:
    """One slow chunk among quick ones is no slow link."""
    r = receiver()
    for serial, took in ((1, 4.0), (2, 8.0)):
        r.request(serial, 1, 10.0 * serial)
        r.write_requested(chunk(serial, serial - 1), 10.0 * serial + took)
    r.request(3, 1, 50.0)
    assert r.check_at() == pytest.approx(50 + 4 * (4 * 7 / 8 + 8 / 8))


def test_a_late_chunk_teaches_patience() -> None:
    """Serials tell the first sending from its repetition, so its time is known."""
    r = receiver()
    r.request(1, 1, 0.0)
    r.expire(4.0)
    r.request(2, 1, 4.0)
    assert r.write_requested(chunk(1, 0), 6.0)
    assert r.check_at() == pytest.approx(6.0 + 4 * 6.0)


def test_any_arrival_shows_that_the_rest_may_be_behind_it() -> None:
    """A slow link that delivers is not asked again."""
    r, serial = opened(4)
    r.request(serial, 4, 0.0)
    for i in range(3):
        at = r.check_at()
        assert at is not None
        r.write_requested(chunk(serial + i, 3 + i), at - 0.1)
        r.expire(at)
        assert r.outstanding == 3 - i


def test_overdue_chunks_are_requested_again_and_the_window_is_one() -> None:
    """The lowest first; what was lost is no reason to press harder."""
    r, serial = opened(4)
    r.request(serial, 4, 0.0)
    r.expire(LOST_SECONDS)
    assert r.requestable == 1
    assert r.request(serial + 4, 1, LOST_SECONDS) == (3,)


def test_requests_of_different_age_are_overdue_at_different_times() -> None:
    """The younger one stays outstanding."""
    r, serial = opened(4)
    r.request(serial, 1, 0.0)
    r.request(serial + 1, 1, 1.0)
    r.expire(LOST_SECONDS)
    assert r.outstanding == 1


@pytest.mark.parametrize("starved", [0.0, 500.0])
def test_a_source_unheard_for_a_minute_is_silent(starved: float) -> None:
    """Only the time counts in which chunks were requested from it."""
    r = receiver()
    r.request(1, 1, 0.0)
    r.expire(10.0)
    assert not r.source_silent(10.0 + starved)
    r.request(2, 1, 10.0 + starved)
    assert not r.source_silent(starved + SILENT_SECONDS - 0.1)
    assert r.source_silent(starved + SILENT_SECONDS)


def test_a_member_with_recent_messages_is_not_silent() -> None:
    """One chunk a minute will do."""
    r = receiver()
    r.request(1, 2, 0.0)
    r.write_requested(chunk(1, 0), 50.0)
    assert not r.source_silent(100.0)
    assert r.source_silent(110.0)


def test_after_a_reconnect_all_chunks_are_requested_again() -> None:
    """Chunks in transit are lost, those that arrived stay, and the timeout starts again."""
    r, serial = opened(4)
    r.request(serial, 4, 0.0)
    r.reconnected()
    assert r.outstanding == 0
    assert r.check_at() is None
    assert r.request(serial + 4, 4, 70.0) == (3, 4, 5, 6)
    assert not r.source_silent(70.0)
    assert r.check_at() == 70.0 + LOST_SECONDS


def test_after_a_reconnect_a_source_has_a_minute_again() -> None:
    """It was the connection that was silent."""
    r = receiver()
    r.request(1, 1, 0.0)
    r.expire(55.0)
    r.reconnected()
    r.request(2, 1, 56.0)
    assert not r.source_silent(56.0 + SILENT_SECONDS - 0.1)
    assert r.source_silent(56.0 + SILENT_SECONDS)


def test_a_multicast_download_requests_nothing() -> None:
    """The stream brings it, and `upto` says how far."""
    r = receiver(members=3)
    assert r.requestable == 0
    for i in (0, 1, 3):
        assert r.write_multicast(chunk(0, i), 0.0)
    assert r.upto == 4
    assert r.write_multicast(chunk(0, 2), 0.0)
    assert r.upto == 4


def test_a_download_that_left_a_multicast_requests_the_end_first() -> None:
    """Earlier chunks of the multicast, still on a slow link, arrive first, and only once."""
    r = receiver(members=3)
    r.write_multicast(chunk(0, 0), 0.0)
    r.use_unicast()
    assert r.request(1, 1, 0.0) == (19,)
    for i in range(1, 8):
        assert r.write_multicast(chunk(0, i), 0.1)
    assert r.write_requested(chunk(1, 19), 0.2)
    wanted = [r.request(serial, 1, 0.2)[0] for serial in range(2, 4)]
    assert wanted == [18, 17]


def test_a_multicast_counts_as_missed_after_a_timeout_that_the_stream_sets() -> None:
    """Four seconds for the first chunk, then four times what one takes."""
    r = receiver(members=3)
    assert r.check_at() == FIRST_SECONDS
    assert not r.missed_stream(FIRST_SECONDS - 0.1)
    assert r.missed_stream(FIRST_SECONDS)
    r.write_multicast(chunk(0, 0), 2.1)
    assert r.check_at() == pytest.approx(2.1 + 4 * 2.1)
    quick = receiver(members=3)
    quick.write_multicast(chunk(0, 0), 0.1)
    assert quick.missed_stream(0.1 + LOST_SECONDS)
    quick.use_unicast()
    assert not quick.missed_stream(100.0)
    assert quick.check_at() is None


def test_multicast_chunks_are_no_measure_of_a_unicast() -> None:
    """Its chunks were not requested, so they are no measure of a round trip."""
    r = receiver(members=3)
    r.use_unicast()
    r.write_multicast(chunk(0, 0), 7.0)
    r.request(1, 1, 7.0)
    assert r.check_at() == 7.0 + FIRST_SECONDS


def test_a_chunk_that_came_by_multicast_is_not_requested_again_when_it_is_lost() -> None:
    """The multicast may bring a chunk that was requested by unicast."""
    r = receiver(members=3)
    r.use_unicast()
    assert r.request(1, 1, 0.0) == (19,)
    r.write_multicast(chunk(0, 19), 0.0)
    r.expire(FIRST_SECONDS)
    assert r.outstanding == 0
    assert r.request(2, 1, FIRST_SECONDS) == (18,)


def test_a_stream_that_still_comes_is_no_silence() -> None:
    """A link that is busy with a multicast has no time yet for requested chunks."""
    r = receiver(members=3)
    r.use_unicast()
    r.request(1, 1, 0.0)
    for i in range(8):
        assert r.write_multicast(chunk(0, i), 8.4 * (i + 1))
    assert not r.source_silent(8.4 * 8 + 50)
    assert r.source_silent(8.4 * 8 + 60)


@given(st.data())
def test_whatever_arrives_the_books_agree(data: st.DataObject) -> None:
    """Every chunk is missing, or written once; requested ones are counted; the end is reached."""
    size = data.draw(st.integers(0, 6 * CHUNK_BYTES))
    r = receiver(size, members=data.draw(st.integers(0, 2)))
    count = r.location.blob_ref.count
    serial, now, sent = 1, 0.0, []
    for _ in range(data.draw(st.integers(0, 40))):
        now += data.draw(st.sampled_from([0.0, 0.1, 1.6, 5.0]))
        match data.draw(st.sampled_from(["want", "take", "take", "follow", "expire", "reconnect"])):
            case "want" if r.requestable:
                indices = r.request(serial, r.requestable, now)
                sent += [(serial + i, index) for i, index in enumerate(indices)]
                serial += len(indices)
            case "take" if sent:
                r.write_requested(chunk(*data.draw(st.sampled_from(sent)), size), now)
            case "follow":
                r.write_multicast(chunk(0, data.draw(st.integers(0, count - 1)), size), now)
            case "expire":
                r.expire(now)
            case "reconnect":
                r.reconnected()
        assert 0 <= r.outstanding <= WINDOW
        assert 0 <= r.requestable <= WINDOW - r.outstanding
    r.use_unicast()
    while not r.complete:
        now += 100.0
        r.expire(now)
        if r.requestable:
            [index] = r.request(serial, 1, now)
            assert r.write_requested(chunk(serial, index, size), now)
            serial += 1
    assert r.sink.content == blob(size).content  # type: ignore[attr-defined]
    assert set(r.sink.writes.values()) == {1}  # type: ignore[attr-defined]
    assert r.sink.writes.total() == count  # type: ignore[attr-defined]
