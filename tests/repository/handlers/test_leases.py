"""Who may act as the controller, and until when."""

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
    assert harness.hear(CONTROLLER, MINE) == granted(1)
    assert [note.facts for note in harness.notes if note.event == "lease_granted"] == [
        {"holder": CONTROLLER, "epoch": 1}
    ]


def test_another_hears_who_acts_and_when_to_ask_again(harness: Harness) -> None:
    """A standby need not guess."""
    harness.hear(CONTROLLER, MINE)
    harness.now += 5
    assert harness.hear(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=10.0)]
    assert not harness.runs


def test_who_renews_goes_on(harness: Harness) -> None:
    """Renewing keeps the epoch and is nothing to tell people."""
    harness.hear(CONTROLLER, MINE)
    for _ in range(5):
        harness.now += 10
        assert harness.hear(CONTROLLER, MINE) == granted(1)
    assert harness.hear(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=15.0)]
    assert len(harness.notes) == 1


def test_an_expired_lease_passes_on(harness: Harness) -> None:
    """The epoch rises, so that everyone refuses the one who was asleep."""
    harness.hear(CONTROLLER, MINE)
    harness.now += 15
    assert harness.hear(OTHER, THEIRS) == granted(2)
    assert harness.hear(CONTROLLER, MINE) == [LeaseHeld(holder=OTHER, seconds=15.0)]


def test_of_two_that_saw_it_expire_one_gets_it(harness: Harness) -> None:
    """Their calls overtake each other; the store decides."""
    harness.hear(CONTROLLER, MINE)
    harness.now += 15
    harness.tell(Received(OTHER, THEIRS))
    harness.tell(Received("controller.3", TakeLease(incarnation=9)))
    harness.runs.rotate()
    harness.work()
    answers = [type(message) for _, message in harness.said[-2:]]
    assert sorted(answer.__name__ for answer in answers) == ["LeaseGranted", "LeaseHeld"]


def test_an_answer_that_was_overtaken_changes_nothing(harness: Harness) -> None:
    """What this process believes of the lease never goes back."""
    harness.hear(CONTROLLER, MINE)
    harness.now += 15
    harness.tell(Received(CONTROLLER, MINE))
    late = harness.runs.popleft()
    harness.tell(Received(OTHER, THEIRS))
    early_result = late.call()  # the holder renews just before the other takes over …
    harness.work()
    harness.runs.append(type(late)(late.key, lambda: early_result))
    harness.work()  # … and its answer comes last
    assert harness.hear("controller.3", TakeLease(incarnation=9))[0].holder == OTHER


def test_a_restarted_holder_acts_at_once(harness: Harness) -> None:
    """Under the next epoch: whatever it said before its restart is stale."""
    harness.hear(CONTROLLER, MINE)
    assert harness.hear(CONTROLLER, TakeLease(incarnation=9)) == granted(2)


@pytest.mark.parametrize("restart", [False, True], ids=["bus away", "repository restarted"])
def test_after_a_silence_only_the_holder_has_it_for_a_while(
    harness: Harness, reopen: Open, restart: bool
) -> None:
    """Nobody could renew meanwhile, so that nobody renewed means nothing."""
    harness.hear(CONTROLLER, MINE)
    harness.now += 100
    if restart:
        harness.core = RepositoryCore(REPOSITORY, reopen())
    harness.tell(Connected())
    harness.work()
    assert harness.hear(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=15.0)]
    harness.now += 10
    assert harness.hear(CONTROLLER, MINE) == granted(1)
    harness.now += 10
    assert harness.hear(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=5.0)]


def test_after_a_restart_and_a_silence_it_passes_on_at_the_second_question(
    harness: Harness, reopen: Open
) -> None:
    """The first one tells this process who held it."""
    harness.hear(CONTROLLER, MINE)
    harness.core = RepositoryCore(REPOSITORY, reopen())
    harness.connect()
    harness.now += 15
    assert harness.hear(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=0.0)]
    assert harness.hear(OTHER, THEIRS) == granted(2)
