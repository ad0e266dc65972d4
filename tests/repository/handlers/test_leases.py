"""Who may act as the controller, and until when."""

import pytest

from fedbus.core.events import Connected, Received
from fedbus.wire.messages import LeaseGranted, LeaseHeld, TakeLease
from fedbus_repository.core import RepositoryCore
from tests.repository.conftest import Open
from tests.repository.stand import CONTROLLER, REPOSITORY, Stand

OTHER = "controller.2"
MINE, THEIRS = TakeLease(incarnation=7), TakeLease(incarnation=8)


def granted(epoch: int) -> list[object]:
    """The answer to who has the lease."""
    return [LeaseGranted(epoch=epoch, seconds=15.0)]


def test_the_first_to_ask_acts_at_once(stand: Stand) -> None:
    """A new cluster loses no time."""
    assert stand.hear(CONTROLLER, MINE) == granted(1)
    assert [note.facts for note in stand.notes if note.event == "lease_granted"] == [
        {"holder": CONTROLLER, "epoch": 1}
    ]


def test_another_hears_who_acts_and_when_to_ask_again(stand: Stand) -> None:
    """A standby need not guess."""
    stand.hear(CONTROLLER, MINE)
    stand.now += 5
    assert stand.hear(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=10.0)]
    assert not stand.runs


def test_who_renews_goes_on(stand: Stand) -> None:
    """Renewing keeps the epoch and is nothing to tell people."""
    stand.hear(CONTROLLER, MINE)
    for _ in range(5):
        stand.now += 10
        assert stand.hear(CONTROLLER, MINE) == granted(1)
    assert stand.hear(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=15.0)]
    assert len(stand.notes) == 1


def test_an_expired_lease_passes_on(stand: Stand) -> None:
    """The epoch rises, so that everyone refuses the one who was asleep."""
    stand.hear(CONTROLLER, MINE)
    stand.now += 15
    assert stand.hear(OTHER, THEIRS) == granted(2)
    assert stand.hear(CONTROLLER, MINE) == [LeaseHeld(holder=OTHER, seconds=15.0)]


def test_of_two_that_saw_it_expire_one_gets_it(stand: Stand) -> None:
    """Their calls overtake each other; the store decides."""
    stand.hear(CONTROLLER, MINE)
    stand.now += 15
    stand.tell(Received(OTHER, THEIRS))
    stand.tell(Received("controller.3", TakeLease(incarnation=9)))
    stand.runs.rotate()
    stand.work()
    answers = [type(message) for _, message in stand.said[-2:]]
    assert sorted(answer.__name__ for answer in answers) == ["LeaseGranted", "LeaseHeld"]


def test_an_answer_that_was_overtaken_changes_nothing(stand: Stand) -> None:
    """What this process believes of the lease never goes back."""
    stand.hear(CONTROLLER, MINE)
    stand.now += 15
    stand.tell(Received(CONTROLLER, MINE))
    late = stand.runs.popleft()
    stand.tell(Received(OTHER, THEIRS))
    early_result = late.call()  # the holder renews just before the other takes over …
    stand.work()
    stand.runs.append(type(late)(late.key, lambda: early_result))
    stand.work()  # … and its answer comes last
    assert stand.hear("controller.3", TakeLease(incarnation=9))[0].holder == OTHER


def test_a_restarted_holder_acts_at_once(stand: Stand) -> None:
    """Under the next epoch: whatever it said before its restart is stale."""
    stand.hear(CONTROLLER, MINE)
    assert stand.hear(CONTROLLER, TakeLease(incarnation=9)) == granted(2)


@pytest.mark.parametrize("restart", [False, True], ids=["bus away", "repository restarted"])
def test_after_a_silence_only_the_holder_has_it_for_a_while(
    stand: Stand, reopen: Open, restart: bool
) -> None:
    """Nobody could renew meanwhile, so that nobody renewed means nothing."""
    stand.hear(CONTROLLER, MINE)
    stand.now += 100
    if restart:
        stand.core = RepositoryCore(REPOSITORY, reopen())
    stand.tell(Connected())
    stand.work()
    assert stand.hear(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=15.0)]
    stand.now += 10
    assert stand.hear(CONTROLLER, MINE) == granted(1)
    stand.now += 10
    assert stand.hear(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=5.0)]


def test_after_a_restart_and_a_silence_it_passes_on_at_the_second_question(
    stand: Stand, reopen: Open
) -> None:
    """The first one tells this process who held it."""
    stand.hear(CONTROLLER, MINE)
    stand.core = RepositoryCore(REPOSITORY, reopen())
    stand.connect()
    stand.now += 15
    assert stand.hear(OTHER, THEIRS) == [LeaseHeld(holder=CONTROLLER, seconds=0.0)]
    assert stand.hear(OTHER, THEIRS) == granted(2)
