"""Plans of fleets: what is planned, and curves of what has none."""

from dataclasses import replace

import pytest

from fedbus.errors import SettingsError
from fedbus.privacy.fleet_plan import plan_fleet
from fedbus.privacy.planned_fleet import CURVE_FACTORS, PlannedFleet, PlannedMechanism
from tests.fedbus.privacy.privacy_examples import terms

FLEET = PlannedFleet(
    agents=50, cohort=5, rounds=30, epsilon=3.0, delta=1e-5, accountant="rdp", away=0.2
)


def planned(multiplier: float, path_error: float | None) -> PlannedMechanism:
    """Return a planned mechanism with this noise multiplier and this error."""
    return PlannedMechanism(
        name="any",
        terms=terms(noise_multiplier=multiplier),
        participations=3,
        noise_multiplier=multiplier,
        deviation=1.0,
        path_error=path_error,
        job={},
        note="",
    )


def test_a_curve_has_a_point_for_each_factor() -> None:
    """From much ε with little noise to little ε with much."""
    points = list(planned(1.0, 2.0).curve(10))
    assert [error for _, error in points] == [2.0 * factor for factor in CURVE_FACTORS]
    assert [epsilon for epsilon, _ in points] == sorted((e for e, _ in points), reverse=True)


def test_what_has_no_error_or_no_epsilon_has_no_curve() -> None:
    """As DP-SGD, whose noise is in gradients; and no point where ε is infinite."""
    assert list(planned(1.0, None).curve(10)) == []
    assert list(planned(0.0, 2.0).curve(10)) == []


def test_each_step_is_reported() -> None:
    """The search takes seconds, so a user sees what is tried."""
    said: list[str] = []
    names = [each.name for each in plan_fleet(FLEET, said.append)]
    assert len(names) == 6
    assert said[0] == "Poisson sampling: noise multiplier 1"
    assert any(sentence.startswith("banded noise:") for sentence in said)


def test_noise_of_few_agents_absent_is_planned_for_those_who_are_there() -> None:
    """Of 50 agents 10 may be away: 40 agents are eight cohorts of five."""
    banded = list(plan_fleet(FLEET))[2]
    assert (banded.terms.min_separation, banded.terms.max_participations) == (8, 4)
    assert banded.note == (
        "an agent takes part once in 8 rounds at most, 4 times in all; 10 agents may be away"
    )


def test_a_mechanism_that_cannot_have_this_epsilon_is_refused_or_left_out() -> None:
    """It is named; the others are planned."""
    tiny = PlannedFleet(agents=2, cohort=2, rounds=10**5, epsilon=0.1, delta=1e-9, accountant="rdp")
    with pytest.raises(SettingsError, match="dp-fixed: no noise multiplier up to 10000 gives"):
        list(plan_fleet(tiny))
    two = replace(tiny, cohort=1, epsilon=0.05, delta=1e-5)
    skipped: list[str] = []
    planned = [each.terms.mechanism for each in plan_fleet(two, skip=skipped.append)]
    assert planned == ["dp-banded"]
    assert [each.partition(":")[0] for each in skipped] == ["dp-fixed", "dp-fixed", "ldp-gaussian"]
