"""Downloads: the order of chunk requests, the bound of bytes in flight, how fetches end."""

from collections.abc import Iterable

import pytest

from fedbus.blobs.transfer.chunk import CONFIRM_SERIAL, MULTICAST_SERIAL, Chunk
from fedbus.blobs.transfer.downloads import (
    MAX_OUTSTANDING,
    MAX_SERIAL,
    Downloads,
    DownloadStep,
    FollowMulticast,
    LeaveMulticast,
)
from fedbus.blobs.transfer.receiver import FIRST_SECONDS, LOST_SECONDS, WINDOW
from fedbus.core.actions import Cancel, Fetch, Send
from fedbus.core.events import Fetched, FetchFailed
from fedbus.core.keys import Key
from fedbus.wire.blobs import CHUNK_BYTES, BlobLocation
from fedbus.wire.messages import BlobNotFound, ChunkRequest, Confirm, Join, Leave, UseUnicast
from tests.fedbus.blobs.transfer.simulation import IN_FLIGHT, Blob, MemorySink, blob
from tests.sample_key import SampleKey

SOURCE = "repository.1"
BASE = SampleKey("base")
MODEL = blob(20 * CHUNK_BYTES)


def fetch(key: Key = BASE, wanted: Blob = MODEL, members: int = 0, source: str = SOURCE) -> Fetch:
    """The wish for a blob."""
    location = BlobLocation(blob_ref=wanted.blob_ref, source=source)
    return Fetch(key, location, MemorySink(wanted.size), members)


def chunk(serial: int, index: int, wanted: Blob = MODEL) -> Chunk:
    """A chunk of a blob."""
    return Chunk(serial, index, memoryview(wanted.read(index * CHUNK_BYTES, CHUNK_BYTES)))


def said(steps: Iterable[DownloadStep]) -> list[object]:
    """What a node would do: messages, ends, and what it listens to, by name."""
    done: list[object] = []
    for step in steps:
        match step:
            case Send(_, message):
                done.append(message)
            case FollowMulticast() | LeaveMulticast():
                done.append((type(step).__name__, step.source, step.digest))
            case _:
                done.append(step)
    return done


def requested(steps: Iterable[DownloadStep]) -> list[tuple[int, int]]:
    """The requested chunks, as (serial, index)."""
    requests = [message for message in said(steps) if isinstance(message, ChunkRequest)]
    return [
        (request.serial + i, index)
        for request in requests
        for i, index in enumerate(request.indices)
    ]


def answer_all(
    downloads: Downloads, requests: list[tuple[int, int]], of: Blob = MODEL
) -> list[object]:
    """Answer every chunk request, and those that follow, until none is left."""
    done: list[object] = []
    while requests:
        serial, index = requests.pop(0)
        steps = list(downloads.unicast_chunk(SOURCE, chunk(serial, index, of), 0.0))
        requests += requested(steps)
        done += [step for step in said(steps) if not isinstance(step, ChunkRequest)]
    return done


def test_a_unicast_requests_chunks_until_all_have_arrived() -> None:
    """The first request names one chunk; the end is reported once, with the sink."""
    downloads = Downloads(IN_FLIGHT)
    action = fetch()
    steps = list(downloads.fetch(action, 0.0))
    assert said(steps) == [ChunkRequest(digest=MODEL.digest, serial=1, indices=(0,))]
    assert answer_all(downloads, requested(steps)) == [Fetched(BASE, action.sink)]
    assert action.sink.content == MODEL.content  # type: ignore[attr-defined]
    assert downloads._by_serial == {}  # noqa: SLF001 - nothing is remembered of what has ended
    assert len(downloads) == 0
    assert downloads.outstanding == 0
    assert downloads.next() is None


def test_a_source_that_was_fast_is_trusted_with_its_window_again() -> None:
    """The next blob begins where the last one ended; a new connection begins with one chunk."""
    downloads = Downloads(IN_FLIGHT)
    answer_all(downloads, requested(downloads.fetch(fetch(), 0.0)))
    assert len(requested(downloads.fetch(fetch(SampleKey("next")), 0.0))) == WINDOW
    assert (
        len(requested(downloads.fetch(fetch(SampleKey("other"), source="repository.2"), 0.0))) == 1
    )
    list(downloads.cancel(Cancel(SampleKey("next")), 0.0))
    list(downloads.reconnected(0.0))
    assert len(requested(downloads.fetch(fetch(SampleKey("again")), 0.0))) == 1


def test_several_blobs_share_one_bound() -> None:
    """As many chunks as the broker keeps for us, and room beside them for what else is said."""
    downloads = Downloads(IN_FLIGHT)
    small = blob(1000)
    first = [requested(downloads.fetch(fetch(SampleKey("u", i), small), 0.0)) for i in range(100)]
    assert [len(requests) for requests in first] == [1] * MAX_OUTSTANDING + [0] * 52
    steps = list(downloads.unicast_chunk(SOURCE, chunk(1, 0, small), 0.0))
    assert len(requested(steps)) == 1
    assert downloads.outstanding == MAX_OUTSTANDING


def test_what_may_be_in_flight_bounds_large_blobs_further() -> None:
    """In bytes: three chunks, whatever the window; one chunk always may."""
    for in_flight, most in ((3 * CHUNK_BYTES, 3), (CHUNK_BYTES, 1), (10, 1)):
        downloads = Downloads(in_flight)
        requests = requested(downloads.fetch(fetch(), 0.0))
        for i in range(12):
            requests += requested(downloads.unicast_chunk(SOURCE, chunk(*requests[i]), 0.0))
            assert downloads.outstanding <= most
        assert downloads.outstanding == most


def test_a_chunk_from_another_than_the_source_is_ignored() -> None:
    """Any node may write on its own links, and can guess serials."""
    downloads = Downloads(IN_FLIGHT)
    [(serial, index)] = requested(downloads.fetch(fetch(), 0.0))
    assert said(downloads.unicast_chunk("agent.evil", chunk(serial, index), 0.0)) == []
    assert said(downloads.unicast_chunk(SOURCE, chunk(serial + 1, index), 0.0)) == []
    assert said(downloads.unicast_chunk(SOURCE, chunk(serial, index + 1), 0.0)) == []
    assert downloads.outstanding == 1
    assert requested(downloads.unicast_chunk(SOURCE, chunk(serial, index), 0.0))
    assert said(downloads.unicast_chunk(SOURCE, chunk(serial, index), 0.0)) == []


def test_a_multicast_download_subscribes_joins_and_confirms() -> None:
    """It confirms when the source asks for it, and unsubscribes when it has all."""
    model = blob(3 * CHUNK_BYTES)
    downloads = Downloads(IN_FLIGHT)
    action = fetch(wanted=model, members=5)
    assert said(downloads.fetch(action, 0.0)) == [
        ("FollowMulticast", SOURCE, model.digest),
        Join(digest=model.digest, members=5),
    ]
    followed = [
        said(downloads.multicast_chunk(SOURCE, model.digest, chunk(serial, index, model), 0.0))
        for index, serial in enumerate((MULTICAST_SERIAL, CONFIRM_SERIAL, CONFIRM_SERIAL))
    ]
    assert followed == [
        [],
        [Confirm(digest=model.digest, upto=2)],
        [
            Confirm(digest=model.digest, upto=3),
            ("LeaveMulticast", SOURCE, model.digest),
            Fetched(BASE, action.sink),
        ],
    ]
    assert downloads.next() is None


def test_the_streams_of_other_sources_and_blobs_are_not_taken() -> None:
    """Each stream is one blob of one source; a damaged chunk belongs to no blob."""
    downloads = Downloads(IN_FLIGHT)
    list(downloads.fetch(fetch(members=5), 0.0))
    other = blob(20 * CHUNK_BYTES, "b")
    for source, digest, part in (
        ("agent.evil", MODEL.digest, chunk(0, 0)),
        (SOURCE, other.digest, chunk(0, 0, other)),
        (SOURCE, MODEL.digest, chunk(0, 20)),
    ):
        assert said(downloads.multicast_chunk(source, digest, part, 0.0)) == []


def test_missing_chunks_are_requested_when_the_stream_is_over() -> None:
    """From the end, as after every multicast."""
    model = blob(4 * CHUNK_BYTES)
    downloads = Downloads(IN_FLIGHT)
    list(downloads.fetch(fetch(wanted=model, members=5), 0.0))
    for index in (0, 2):
        assert (
            said(downloads.multicast_chunk(SOURCE, model.digest, chunk(0, index, model), 0.0)) == []
        )
    steps = list(downloads.multicast_chunk(SOURCE, model.digest, chunk(1, 3, model), 0.0))
    assert said(steps) == [
        Confirm(digest=model.digest, upto=4),
        ("LeaveMulticast", SOURCE, model.digest),
        ChunkRequest(digest=model.digest, serial=1, indices=(1,)),
    ]
    assert answer_all(downloads, requested(steps), model)


def test_use_unicast_moves_a_download_to_unicast() -> None:
    """Once; a download that uses unicast already is not disturbed."""
    downloads = Downloads(IN_FLIGHT)
    list(downloads.fetch(fetch(members=5), 0.0))
    steps = said(downloads.use_unicast(SOURCE, UseUnicast(digest=MODEL.digest), 0.0))
    assert steps == [
        ("LeaveMulticast", SOURCE, MODEL.digest),
        ChunkRequest(digest=MODEL.digest, serial=1, indices=(19,)),
    ]
    assert said(downloads.use_unicast(SOURCE, UseUnicast(digest=MODEL.digest), 0.0)) == []
    assert said(downloads.use_unicast("agent.evil", UseUnicast(digest=MODEL.digest), 0.0)) == []


def test_a_late_chunk_of_the_stream_is_accepted_after_the_move_to_unicast() -> None:
    """It is not requested again, and not confirmed."""
    downloads = Downloads(IN_FLIGHT)
    list(downloads.fetch(fetch(members=5), 0.0))
    list(downloads.use_unicast(SOURCE, UseUnicast(digest=MODEL.digest), 0.0))
    assert (
        said(downloads.multicast_chunk(SOURCE, MODEL.digest, chunk(CONFIRM_SERIAL, 3), 0.0)) == []
    )
    requests = [(1, 19)]
    answer_all(downloads, requests)
    assert len(downloads) == 0


def test_a_download_without_a_multicast_chunk_moves_to_unicast() -> None:
    """The join may be lost, or the source's process with its multicasts."""
    downloads = Downloads(IN_FLIGHT)
    list(downloads.fetch(fetch(members=5), 0.0))
    assert downloads.next() == FIRST_SECONDS
    assert said(downloads.due(FIRST_SECONDS)) == [
        ("LeaveMulticast", SOURCE, MODEL.digest),
        ChunkRequest(digest=MODEL.digest, serial=1, indices=(19,)),
    ]
    assert downloads.next() == 2 * FIRST_SECONDS


def test_lost_chunks_are_requested_again_under_new_serials() -> None:
    """When its time has come, and not before; the late chunk counts, its repetition goes on."""
    downloads = Downloads(IN_FLIGHT)
    assert requested(downloads.fetch(fetch(), 0.0)) == [(1, 0)]
    assert said(downloads.due(FIRST_SECONDS - 0.1)) == []
    assert requested(downloads.due(FIRST_SECONDS)) == [(2, 0)]
    assert said(downloads.unicast_chunk(SOURCE, chunk(1, 0), 5.0)) == []
    assert requested(downloads.unicast_chunk(SOURCE, chunk(2, 0), 5.1)) == [(3, 1), (4, 2)]


def test_a_timer_that_comes_early_finds_nothing_lost() -> None:
    """An arrival has put the end of patience off."""
    downloads = Downloads(IN_FLIGHT)
    requests = requested(downloads.fetch(fetch(), 0.0))
    requests += requested(downloads.unicast_chunk(SOURCE, chunk(*requests[0]), 0.1))
    assert downloads.next() == 0.1 + LOST_SECONDS
    list(downloads.unicast_chunk(SOURCE, chunk(*requests[1]), 1.0))
    assert requested(downloads.due(0.1 + LOST_SECONDS)) == []


def test_not_found_fails_the_downloads_of_that_blob() -> None:
    """Others are not concerned."""
    downloads = Downloads(IN_FLIGHT)
    list(downloads.fetch(fetch(SampleKey("here")), 0.0))
    list(downloads.fetch(fetch(SampleKey("there"), source="agent.a"), 0.0))
    assert said(downloads.not_found(SOURCE, BlobNotFound(digest=MODEL.digest), 0.0)) == [
        FetchFailed(SampleKey("here"), "repository.1 does not hold aaaaaaaaaaaa")
    ]
    assert said(downloads.not_found(SOURCE, BlobNotFound(digest=MODEL.digest), 0.0)) == []
    assert len(downloads) == 1


def test_a_multicast_of_an_unknown_blob_is_left() -> None:
    """No subscription remains."""
    downloads = Downloads(IN_FLIGHT)
    list(downloads.fetch(fetch(members=5), 0.0))
    assert ("LeaveMulticast", SOURCE, MODEL.digest) in said(
        downloads.not_found(SOURCE, BlobNotFound(digest=MODEL.digest), 0.0)
    )


def test_a_source_that_is_silent_for_a_minute_is_given_up() -> None:
    """The next download starts before the failure is reported."""
    downloads = Downloads(CHUNK_BYTES)
    small = blob(CHUNK_BYTES, "b")
    list(downloads.fetch(fetch(SampleKey("dead")), 0.0))
    assert requested(downloads.fetch(fetch(SampleKey("next"), small, source="agent.a"), 0.0)) == []
    [(serial, index)] = requested(downloads.due(FIRST_SECONDS))
    steps = said(downloads.unicast_chunk("agent.a", chunk(serial, index, small), FIRST_SECONDS))
    assert [type(step) for step in steps] == [ChunkRequest, Fetched]
    ends: list[object] = []
    while (at := downloads.next()) is not None:
        ends += [step for step in said(downloads.due(at)) if not isinstance(step, ChunkRequest)]
    assert ends == [FetchFailed(SampleKey("dead"), "no chunk from repository.1 for a minute")]
    assert downloads.outstanding == 0


def test_cancelling_leaves_nothing_behind() -> None:
    """A unicast needs no message; the multicast continues without this node."""
    downloads = Downloads(IN_FLIGHT)
    [(serial, index)] = requested(downloads.fetch(fetch(), 0.0))
    assert said(downloads.cancel(Cancel(BASE), 0.0)) == []
    assert said(downloads.unicast_chunk(SOURCE, chunk(serial, index), 0.0)) == []
    list(downloads.fetch(fetch(members=5), 0.0))
    assert said(downloads.cancel(Cancel(BASE), 0.0)) == [
        Leave(digest=MODEL.digest),
        ("LeaveMulticast", SOURCE, MODEL.digest),
    ]
    assert said(downloads.cancel(Cancel(BASE), 0.0)) == []
    assert (len(downloads), downloads.outstanding, downloads.next()) == (0, 0, None)


def test_the_same_key_starts_a_new_download() -> None:
    """What the first was sent is not the second's."""
    downloads = Downloads(IN_FLIGHT)
    [(serial, index)] = requested(downloads.fetch(fetch(), 0.0))
    again = fetch()
    requests = requested(downloads.fetch(again, 0.0))
    assert said(downloads.unicast_chunk(SOURCE, chunk(serial, index), 0.0)) == []
    assert answer_all(downloads, requests) == [Fetched(BASE, again.sink)]
    assert downloads.outstanding == 0


def test_after_a_reconnect_missing_chunks_are_requested_by_unicast() -> None:
    """The broker has forgotten both the subscriptions and what was on its way."""
    downloads = Downloads(IN_FLIGHT)
    small = blob(1000, "b")
    list(downloads.fetch(fetch(SampleKey("unicast"), small), 0.0))
    list(downloads.fetch(fetch(SampleKey("multicast"), members=5), 0.0))
    assert said(downloads.reconnected(10.0)) == [
        ("LeaveMulticast", SOURCE, MODEL.digest),
        ChunkRequest(digest=small.digest, serial=2, indices=(0,)),
        ChunkRequest(digest=MODEL.digest, serial=3, indices=(19,)),
    ]
    assert downloads.outstanding == 2
    assert downloads.next() == 10.0 + FIRST_SECONDS


def test_serials_restart_before_they_run_out() -> None:
    """After four thousand million chunks; the field is 32 bits wide."""
    downloads = Downloads(IN_FLIGHT, first_serial=MAX_SERIAL)
    assert requested(downloads.fetch(fetch(), 0.0)) == [(MAX_SERIAL, 0)]
    requests = requested(downloads.unicast_chunk(SOURCE, chunk(MAX_SERIAL, 0), 0.0))
    assert requests == [(1, 1), (2, 2)]
    assert answer_all(downloads, requests)


def test_a_core_may_cancel_the_other_downloads_when_one_ends() -> None:
    """A core gives up a round when one blob fails, and hears no more of the rest."""
    downloads = Downloads(IN_FLIGHT)
    for i in range(3):
        list(downloads.fetch(fetch(SampleKey("update", i)), 0.0))
    ends = []
    for step in downloads.not_found(SOURCE, BlobNotFound(digest=MODEL.digest), 0.0):
        if isinstance(step, FetchFailed):
            ends.append(step.key)
            for i in range(3):
                list(downloads.cancel(Cancel(SampleKey("update", i)), 0.0))
    assert ends == [SampleKey("update", 0)]
    assert (len(downloads), downloads.outstanding) == (0, 0)


def test_two_downloads_of_one_multicast_end_together_and_either_may_cancel_the_other() -> None:
    """The stream is taken by both, as long as they are."""
    small = blob(1000)
    for cancels in (False, True):
        downloads = Downloads(IN_FLIGHT)
        for i in range(2):
            list(downloads.fetch(fetch(SampleKey("base", i), small, members=2), 0.0))
        ends = []
        for step in downloads.multicast_chunk(SOURCE, small.digest, chunk(0, 0, small), 0.0):
            if isinstance(step, Fetched):
                ends.append(step.key)
                if cancels:
                    list(downloads.cancel(Cancel(SampleKey("base", 1)), 0.0))
        all_keys = [SampleKey("base", number) for number in range(2)]
        assert ends == all_keys[: 1 if cancels else 2]
        assert len(downloads) == 0


def test_sources_that_fall_silent_together_are_reported_one_by_one() -> None:
    """And a core that cancels the second when it hears of the first hears of no second."""
    downloads = Downloads(IN_FLIGHT)
    for i in range(2):
        list(downloads.fetch(fetch(SampleKey("update", i)), 0.0))
    ends = []
    while (at := downloads.next()) is not None:
        for step in downloads.due(at):
            if isinstance(step, FetchFailed):
                ends.append(step)
                list(downloads.cancel(Cancel(SampleKey("update", 1)), at))
    assert ends == [FetchFailed(SampleKey("update", 0), "no chunk from repository.1 for a minute")]


def test_a_failed_fetch_may_be_tried_again_at_once() -> None:
    """Under its own key, in the reaction to its failure; the new one is watched over, too."""
    downloads = Downloads(IN_FLIGHT)
    list(downloads.fetch(fetch(), 0.0))
    again = fetch(source="collector.2")
    for step in downloads.not_found(SOURCE, BlobNotFound(digest=MODEL.digest), 1.0):
        if isinstance(step, FetchFailed):
            assert requested(downloads.fetch(again, 1.0)) == [(2, 0)]
    assert len(downloads) == 1
    assert downloads.next() == 1.0 + FIRST_SECONDS


@pytest.mark.parametrize("sources", [1, 60])
def test_fetches_wait_for_their_turn(sources: int) -> None:
    """First fetched, first requested; a waiting download has no timer that could expire."""
    downloads = Downloads(IN_FLIGHT)
    small = blob(1000)
    for i in range(sources):
        list(downloads.fetch(fetch(SampleKey("u", i), small, source=f"agent.{i}"), 0.0))
    assert downloads.outstanding == min(sources, MAX_OUTSTANDING)
    again = requested(downloads.due(FIRST_SECONDS))
    assert len(again) == min(sources, MAX_OUTSTANDING)
    assert downloads.outstanding <= MAX_OUTSTANDING
    assert downloads.outstanding >= min(sources, WINDOW)
