"""Leadership: when a lease is granted, renewed and lost."""

from collections.abc import Generator

from fedbus.core.actions import Action, Ask, Cancel, WakeAt
from fedbus.wire.messages import LeaseGranted, TakeLease
from fedbus_controller.keys import LeaseRenewal, LeaseRequest
from fedbus_controller.leadership import Leadership
from tests.controller.harness import REPOSITORY


def ran(steps: Generator[Action, None, bool]) -> tuple[list[Action], bool]:
    """Run a generator to its end; return its actions and its result."""
    actions = []
    while True:
        try:
            actions.append(next(steps))
        except StopIteration as end:
            return actions, end.value


def test_a_lease_counts_from_its_request() -> None:
    """The repository may have answered long before its answer arrives."""
    lease = Leadership(7, REPOSITORY)
    assert lease.has_expired(0.0)
    assert lease.ask(100.0) == Ask(LeaseRequest(), REPOSITORY, TakeLease(incarnation=7))
    granted = LeaseGranted(epoch=1, seconds=15.0)
    renewed = [Cancel(LeaseRequest()), WakeAt(LeaseRenewal(), 109.0)]
    assert ran(lease.granted(granted, 104.0)) == (renewed, True)
    assert not lease.has_expired(114.9)
    assert lease.has_expired(115.0)


def test_an_answer_that_comes_too_late_is_asked_for_again() -> None:
    """Another controller may have been granted the lease since."""
    lease = Leadership(7, REPOSITORY)
    lease.ask(100.0)
    granted = LeaseGranted(epoch=1, seconds=15.0)
    assert ran(lease.granted(granted, 115.0)) == ([lease.ask(115.0)], False)


def test_an_answer_of_an_epoch_that_has_passed_grants_nothing() -> None:
    """Answers may arrive in another order; the repository refuses lower epochs."""
    lease = Leadership(7, REPOSITORY)
    lease.ask(100.0)
    assert lease.is_overtaken(3)
    assert not lease.is_overtaken(3)
    assert ran(lease.granted(LeaseGranted(epoch=2, seconds=15.0), 101.0)) == ([], False)
    assert lease.has_expired(101.0)
    assert ran(lease.granted(LeaseGranted(epoch=3, seconds=15.0), 101.0))[1]


def test_another_controller_is_known_to_lead_once_it_has_renewed() -> None:
    """One answer may be about a controller that has just been killed."""
    lease = Leadership(7, REPOSITORY)
    assert list(lease.wait(12.0, 100.0)) == [Cancel(LeaseRequest()), WakeAt(LeaseRenewal(), 112.0)]
    assert not lease.other_renewed(112.0)
    assert lease.another_leads(111.9)
    assert not lease.another_leads(112.0)
    assert not lease.other_renewed(112.0)  # the same lease, looked at again
    assert lease.other_renewed(124.0)
    lease.ask(125.0)
    ran(lease.granted(LeaseGranted(epoch=5, seconds=15.0), 125.0))
    assert not lease.another_leads(125.0)
    assert not lease.other_renewed(150.0)
