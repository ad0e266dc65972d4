"""Terms of a planned fleet, calibrated to its ε, and keys of a job file that resolve to them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fedbus.privacy.calibration import noise_multiplier_for
from fedbus.privacy.planned_fleet import PlannedFleet
from fedbus.wire.privacy import PrivacyTerms

Watch = Callable[[str], None]


def calibrated_terms(
    fleet: PlannedFleet,
    terms: PrivacyTerms,
    participations: int,
    watch: Watch,
    name: str,
) -> PrivacyTerms:
    """Return the terms with the least noise multiplier that keeps the ε of the fleet."""
    multiplier = noise_multiplier_for(
        terms,
        fleet.epsilon,
        rounds=fleet.rounds,
        participations=participations,
        watch=lambda tried: watch(f"{name}: noise multiplier {tried:.4g}"),
    )
    return replace(terms, noise_multiplier=multiplier)


def fleet_terms(fleet: PlannedFleet, **given: Any) -> PrivacyTerms:  # noqa: ANN401 - fields of any type
    """Return the terms of a fleet with these fields, and any noise multiplier."""
    common: dict[str, Any] = {
        "release": "gaussian",
        "noise_multiplier": 1.0,
        "delta": fleet.delta,
        "target_epsilon": fleet.epsilon,
        "accountant": fleet.accountant,
        "cohort": fleet.cohort,
        "population": fleet.agents,
    }
    return PrivacyTerms(**{**common, **given})


def job_keys(
    fleet: PlannedFleet, terms: PrivacyTerms, mechanism: Mapping[str, Any], *, cohorts: bool = True
) -> Mapping[str, Any]:
    """Return the keys of a job file that resolve to these terms."""
    accounting = {
        "delta": terms.delta,
        "target_epsilon": fleet.epsilon,
        "sampling": terms.sampling,
        "accountant": fleet.accountant,
    }
    own = {**mechanism, "num_sampled_clients": fleet.cohort} if cohorts else {**mechanism}
    chosen = {terms.mechanism: own, "accounting": accounting}
    return {"privacy-mechanisms": chosen, "strategy": {"population": fleet.agents}}
