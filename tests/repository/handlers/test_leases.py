"""Lease of the acting controller."""

import pytest

from fedbus.core.events import Connected, Received
from fedbus.wire.messages import LeaseGranted, LeaseHeld, TakeLease
from fedbus_repository.core import RepositoryCore
from tests.repository.conftest import Open
from tests.repository.harness import CONTROLLER, REPOSITORY, Harness

OTHER = "controller.2"
MINE, THEIRS = TakeLease(incarnation=7), TakeLease(incarnation=8)


def granted(epoch: int) -> list[object]:
    """The answer to who has the lease."""
    return [LeaseGranted(epoch=epoch, seconds=15.0)]


def test_the_first_to_ask_acts_at_once(harness: Harness) -> None:
    """A new cluster loses no time."""
    assert harness.receive(CONTROLLER, MINE) == granted(1)
    assert [note.facts for note in harness.notes if note.event == "lease_granted"] == [
        {"holder": CONTROLLER, "epoch": 1}
    ]


def test_another_hears_who_acts_and_when_to_ask_again(harness: Harness) -> None:
    """A standby need not guess."""
    harness.receive(CONTROLLER, MINE)
    harness.now += 5
    assert harness.receive(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=10.0)]
    assert not harness.runs


def test_who_renews_goes_on(harness: Harness) -> None:
    """Renewing keeps the epoch and is nothing to tell people."""
    harness.receive(CONTROLLER, MINE)
    for _ in range(5):
        harness.now += 10
        assert harness.receive(CONTROLLER, MINE) == granted(1)
    assert harness.receive(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=15.0)]
    assert len(harness.notes) == 1


def test_an_expired_lease_passes_on(harness: Harness) -> None:
    """The epoch rises, so that everyone refuses the one who was asleep."""
    harness.receive(CONTROLLER, MINE)
    harness.now += 15
    assert harness.receive(OTHER, THEIRS) == granted(2)
    assert harness.receive(CONTROLLER, MINE) == [LeaseHeld(holder=OTHER, seconds=15.0)]


def test_of_two_that_saw_it_expire_one_gets_it(harness: Harness) -> None:
    """Their calls overtake each other; the store decides."""
    harness.receive(CONTROLLER, MINE)
    harness.now += 15
    harness.handle(Received(OTHER, THEIRS))
    harness.handle(Received("controller.3", TakeLease(incarnation=9)))
    harness.runs.rotate()
    harness.run_all()
    answers = [type(message) for _, message in harness.sent[-2:]]
    assert sorted(answer.__name__ for answer in answers) == ["LeaseGranted", "LeaseHeld"]


def test_an_answer_that_was_overtaken_changes_nothing(harness: Harness) -> None:
    """What this process believes of the lease never goes back."""
    harness.receive(CONTROLLER, MINE)
    harness.now += 15
    harness.handle(Received(CONTROLLER, MINE))
    late = harness.runs.popleft()
    harness.handle(Received(OTHER, THEIRS))
    early_result = late.call()  # the holder renews just before the other takes over …
    harness.run_all()
    harness.runs.append(type(late)(late.key, lambda: early_result))
    harness.run_all()  # … and its answer comes last
    assert harness.receive("controller.3", TakeLease(incarnation=9))[0].holder == OTHER


def test_a_restarted_holder_acts_at_once(harness: Harness) -> None:
    """Under the next epoch: whatever it said before its restart is stale."""
    harness.receive(CONTROLLER, MINE)
    assert harness.receive(CONTROLLER, TakeLease(incarnation=9)) == granted(2)


@pytest.mark.parametrize("restart", [False, True], ids=["bus away", "repository restarted"])
def test_after_a_silence_only_the_holder_has_it_for_a_while(
    harness: Harness, reopen: Open, restart: bool
) -> None:
    """No controller could renew its lease meanwhile, so a missing renewal means nothing."""
    harness.receive(CONTROLLER, MINE)
    harness.now += 100
    if restart:
        harness.core = RepositoryCore(REPOSITORY, reopen())
    harness.handle(Connected())
    harness.run_all()
    assert harness.receive(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=15.0)]
    harness.now += 10
    assert harness.receive(CONTROLLER, MINE) == granted(1)
    harness.now += 10
    assert harness.receive(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=5.0)]


def test_after_a_restart_and_a_silence_it_passes_on_at_the_second_question(
    harness: Harness, reopen: Open
) -> None:
    """The first one tells this process who held it."""
    harness.receive(CONTROLLER, MINE)
    harness.core = RepositoryCore(REPOSITORY, reopen())
    harness.connect()
    harness.now += 15
    assert harness.receive(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=0.0)]
    assert harness.receive(OTHER, THEIRS) == granted(2)
