"""One blob to many at once: when it starts, whom it waits for, and how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.blobs.transfer.chunk import CONFIRM_SERIAL, MULTICAST_SERIAL
from fedbus.blobs.transfer.multicast import HELD_SECONDS, QUIET_SECONDS, Multicast
from fedbus.blobs.transfer.receiver import SILENT_SECONDS


def multicast(members: str = "ab", count: int = 40, window: int = 8) -> Multicast:
    """Make a multicast at time 0 whose members, one for each letter, have all come."""
    g = Multicast(count, window, 0.0)
    for member in members:
        g.join(member, len(members), 0.0)
    return g


def sent(g: Multicast, now: float) -> list[int]:
    """The chunks that the multicast publishes now."""
    return [index for _, index in g.advance(now)]


def test_it_starts_when_all_announced_members_have_come() -> None:
    """With a window of chunks at once."""
    g = Multicast(40, 8, 0.0)
    g.join("a", 2, 0.0)
    assert sent(g, 0.01) == []
    g.join("b", 2, 0.01)
    assert sent(g, 0.01) == list(range(8))


def test_it_starts_without_absent_members() -> None:
    """When no new one has come for a moment, and at the latest after 0.3 seconds."""
    g = Multicast(40, 8, 0.0)
    now = 0.0
    for i in range(20):
        now = 0.04 * i
        if now >= HELD_SECONDS:
            break
        g.join(f"m{i}", 100, now)
        assert sent(g, now) == []
    assert g.wake_at() == HELD_SECONDS
    assert sent(g, HELD_SECONDS)
    quiet = Multicast(40, 8, 0.0)
    quiet.join("a", 2, 0.1)
    assert quiet.wake_at() == 0.1 + QUIET_SECONDS
    assert sent(quiet, 0.1 + QUIET_SECONDS)


def test_it_does_not_wait_for_as_many_as_are_forgiven() -> None:
    """It says how many stayed away, unless so few came that others may just be on their way."""
    g = Multicast(40, 8, 0.0, absent=1)
    g.join("a", 4, 0.0)
    g.join("b", 4, 0.0)
    assert sent(g, 0.0) == []
    assert g.absent is None
    g.join("c", 4, 0.0)
    assert sent(g, 0.0) == list(range(8))
    assert g.absent == 1
    g.join("d", 4, 0.01)
    g.join("e", 4, 0.01)
    assert g.absent == 0
    lonely = Multicast(40, 8, 0.0)
    lonely.join("a", 3, 0.0)
    assert sent(lonely, QUIET_SECONDS)
    assert lonely.absent is None


def test_coming_twice_is_coming_once() -> None:
    """The broker repeats messages; a repetition neither delays nor hurries a member."""
    g = Multicast(40, 8, 0.0)
    g.join("a", 2, 0.0)
    g.join("a", 2, 0.04)
    assert sent(g, 0.04) == []
    assert g.wake_at() == QUIET_SECONDS


def test_a_node_that_uses_unicast_counts_as_present() -> None:
    """In whichever order: the others need not wait for it. It counts once."""
    first = Multicast(40, 8, 0.0)
    first.count_unicast("slow", 3, 0.0)
    first.count_unicast("slow", 3, 0.0)
    first.join("a", 3, 0.0)
    assert sent(first, 0.0) == []
    first.join("b", 3, 0.0)
    assert sent(first, 0.0) == list(range(8))
    alone = Multicast(40, 8, 0.0)
    alone.count_unicast("slow", 1, 0.0)
    assert not alone.over
    assert sent(alone, 0.0) == []
    assert alone.over


def test_the_cursor_waits_for_the_slowest_but_a_window() -> None:
    """Half a window is confirmed while the other half is on its way."""
    g = multicast("ab")
    assert sent(g, 0.0) == list(range(8))
    g.confirm("a", 8)
    assert sent(g, 0.0) == []
    g.confirm("b", 4)
    assert sent(g, 0.0) == [8, 9, 10, 11]
    g.confirm("b", 3)
    assert sent(g, 0.0) == []


@pytest.mark.parametrize(
    ("window", "turns"),
    [(8, [3, 7]), (7, [2, 5]), (4, [1, 3]), (3, [0, 1, 2]), (2, [0, 1]), (1, [0]), (0, [0])],
)
def test_members_confirm_at_every_half_window_however_small(window: int, turns: list[int]) -> None:
    """A window that many members have shrunk would otherwise never be confirmed."""
    g = multicast("ab", window=window)
    chunks = list(g.advance(0.0))
    assert [index for serial, index in chunks if serial == CONFIRM_SERIAL] == turns
    assert {serial for serial, _ in chunks} <= {CONFIRM_SERIAL, MULTICAST_SERIAL}
    assert [index for _, index in chunks] == list(range(max(1, window)))


def test_the_last_chunk_is_confirmed_too() -> None:
    """So that the source knows when no chunk is in transit any more."""
    g = multicast("a", count=5)
    assert list(g.advance(0.0))[-1] == (CONFIRM_SERIAL, 4)
    assert g.streamed
    assert not g.over
    g.confirm("a", 5)
    assert g.over
    assert g.wake_at() is None


def test_a_confirmation_of_an_unsent_chunk_is_ignored() -> None:
    """Such a member neither hurries the others nor ends the multicast."""
    g = multicast("ab")
    sent(g, 0.0)
    g.confirm("a", 40)
    g.confirm("b", 40)
    assert sent(g, 0.0) == list(range(8, 16))
    g.confirm("stranger", 16)
    assert sent(g, 0.0) == []


def test_a_member_that_holds_the_others_back_is_removed_after_a_third_of_a_second() -> None:
    """Counted from when another could have gone on."""
    g = multicast("abc")
    sent(g, 0.0)
    g.confirm("a", 4)
    assert sent(g, 1.0) == []
    assert g.wake_at() == 1.0 + HELD_SECONDS
    assert g.remove_slow(1.29) == []
    assert g.remove_slow(1.0 + HELD_SECONDS) == ["b", "c"]
    assert g.members == ["a"]
    assert sent(g, 1.3) == [8, 9, 10, 11]


def test_progress_restarts_the_timer() -> None:
    """It is one chunk that must not be waited for longer than that, not a blob."""
    g = multicast("ab")
    sent(g, 0.0)
    now = 0.0
    for upto in (4, 8, 12, 16, 20):
        g.confirm("a", upto)
        sent(g, now)
        now += 0.29
        assert g.remove_slow(now) == []
        g.confirm("b", upto)
        assert sent(g, now)


def test_members_that_wait_delay_no_other_member() -> None:
    """The source's own link is slow, or every link is; unicast would make it worse."""
    g = multicast("abc")
    sent(g, 0.0)
    assert g.remove_slow(SILENT_SECONDS - 1) == []
    for member in "abc":
        g.confirm(member, 4)
    assert sent(g, 20.0) == [8, 9, 10, 11]


def test_a_late_member_misses_the_beginning_and_proves_nothing() -> None:
    """It holds no member back, and counts no member as slow before it has confirmed a chunk."""
    g = multicast("a")
    sent(g, 0.0)
    g.join("late", 1, 5.0)
    assert sent(g, 5.0) == []
    assert g.remove_slow(5.0 + 10 * HELD_SECONDS) == []
    g.confirm("a", 8)
    assert sent(g, 9.0) == list(range(8, 16))
    g.confirm("late", 12)
    sent(g, 9.0)
    assert g.remove_slow(9.0 + HELD_SECONDS) == ["a"]


def test_a_member_that_leaves_is_not_awaited() -> None:
    """Nor is one who was never there."""
    g = multicast("ab")
    sent(g, 0.0)
    g.confirm("a", 8)
    g.leave("b")
    g.leave("stranger")
    assert sent(g, 0.0) == list(range(8, 16))
    g.leave("a")
    assert g.over


def test_a_multicast_that_all_leave_before_it_starts_is_over_when_it_would_have_started() -> None:
    """Another may join until then."""
    g = Multicast(40, 8, 0.0)
    g.join("a", 5, 0.0)
    g.leave("a")
    assert not g.over
    assert sent(g, QUIET_SECONDS) == []
    assert g.over


def test_a_multicast_lasts_until_its_slow_members_use_unicast() -> None:
    """They may listen yet; a second stream on the same topic would come to them twice."""
    g = multicast("ab", count=9)
    sent(g, 0.0)
    g.confirm("a", 8)
    sent(g, 0.0)
    assert g.remove_slow(HELD_SECONDS) == ["b"]
    assert sent(g, HELD_SECONDS) == [8]
    g.confirm("a", 9)
    assert g.streamed
    assert not g.over
    g.leave("b")
    assert g.over


def test_a_multicast_lasts_until_late_nodes_use_unicast() -> None:
    """They listened before they joined: the stream may be on its way to them, too."""
    for ends in ("wants", "has all"):
        g = multicast("a", count=5)
        sent(g, 0.0)
        g.count_unicast("late", 2, 0.0)
        g.confirm("a", 5)
        assert not g.over
        g.confirm("late", 4)
        assert not g.over
        if ends == "wants":
            g.leave("late")
        else:
            g.confirm("late", 5)
        assert g.over


def test_a_member_that_is_silent_for_a_minute_is_removed() -> None:
    """Nothing is kept for dead members, whether they stalled or were moved to unicast."""
    g = multicast("ab", count=9)
    sent(g, 0.0)
    assert g.wake_at() == SILENT_SECONDS
    assert g.remove_slow(SILENT_SECONDS) == ["a", "b"]
    assert g.over
    sentenced = multicast("ab", count=9)
    sent(sentenced, 0.0)
    sentenced.confirm("a", 8)
    sent(sentenced, 0.0)
    sentenced.remove_slow(HELD_SECONDS)
    sent(sentenced, HELD_SECONDS)
    sentenced.confirm("a", 9)
    assert sentenced.wake_at() == HELD_SECONDS + SILENT_SECONDS
    assert sentenced.remove_slow(HELD_SECONDS + SILENT_SECONDS) == []
    assert sentenced.over


PAUSES = st.sampled_from([0.0, 0.01, 0.1, 0.3, 61.0])
DEEDS = st.sampled_from(["join", "confirm", "confirm", "confirm", "leave", "wait"])


@given(
    count=st.integers(1, 30),
    window=st.integers(1, 8),
    steps=st.lists(st.tuples(PAUSES, st.sampled_from("abcd"), DEEDS), max_size=60),
)
def test_a_multicast_sends_every_chunk_once_and_has_at_most_a_window_in_transit(
    count: int, window: int, steps: list[tuple[float, str, str]]
) -> None:
    """Members join, confirm, stall and leave in any order, and in the end it is over."""
    g = Multicast(count, window, 0.0)
    upto: dict[str, int] = {}
    chunks: list[int] = []
    now = 0.0
    for pause, member, deed in [*steps, (61.0, "a", "wait"), (61.0, "a", "wait")]:
        now += pause
        if deed == "join" and not g.streamed:
            g.join(member, 3, now)
            upto.setdefault(member, len(chunks))
        elif deed == "confirm" and member in upto:
            upto[member] = len(chunks)
            g.confirm(member, upto[member])
        elif deed == "leave":
            g.leave(member)
            upto.pop(member, None)
        for slow in g.remove_slow(now):
            del upto[slow]
        chunks += sent(g, now)
        assert chunks == list(range(len(chunks)))
        assert g.members == list(upto)
        assert all(len(chunks) - known <= window for known in upto.values())
        assert g.over == (g.wake_at() is None)
    assert g.over
