"""Plan of a fleet's privacy: the noise that each mechanism needs for one ε, and what it costs.

The planned terms are those that a job file with `PlannedMechanism.job` resolves to.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import ceil, sqrt
from typing import Any

from fedbus.errors import SettingsError
from fedbus.privacy.fleet_terms import Watch, calibrated_terms, fleet_terms, job_keys
from fedbus.privacy.path_error import (
    banded_path_error,
    best_bands,
    likely_participations,
    path_error,
    round_deviation,
    widest_separation,
)
from fedbus.privacy.planned_fleet import PlannedFleet, PlannedMechanism
from fedbus.text import counted
from fedbus.training.dp_sgd import dp_sgd_steps
from fedbus.training.params import TrainingParams
from fedbus.wire.privacy import DEFAULT_STDDEV_SHARE, OF_EACH_AGENT


def plan_fleet(
    fleet: PlannedFleet, watch: Watch = lambda _: None, skip: Watch | None = None
) -> Iterator[PlannedMechanism]:
    """Yield each mechanism, as soon as its noise is found.

    Args:
        fleet: The fleet.
        watch: Called with what is tried; what it raises ends the search.
        skip: Called with the reason if a mechanism cannot have this ε, to go on with the others.

    Raises:
        SettingsError: No noise gives this ε, and there is no `skip`.
        PluginError: `dp_accounting` is not installed.
    """
    for planned in (_sampled, _banded, _cohorts, _local, _dp_sgd):
        try:
            yield from planned(fleet, watch)
        except SettingsError as error:
            if skip is None:
                raise
            skip(str(error))


def _clipped(fleet: PlannedFleet, sigma: float) -> Mapping[str, Any]:
    return {"noise_multiplier": sigma, "clipping_norm": fleet.clipping_norm}


def _sampled(fleet: PlannedFleet, watch: Watch) -> Iterator[PlannedMechanism]:
    poisson = _poisson(fleet, watch)
    yield poisson
    yield _adaptive(fleet, poisson)


def _cohorts(fleet: PlannedFleet, watch: Watch) -> Iterator[PlannedMechanism]:
    fixed = _fixed(fleet, watch)
    yield fixed
    yield _shared(fleet, fixed)


def _poisson(fleet: PlannedFleet, watch: Watch) -> PlannedMechanism:
    rate = fleet.cohort / fleet.agents
    terms = fleet_terms(
        fleet,
        mechanism="dp-fixed",
        sampling="poisson",
        relation="add-or-remove-one",
        rate=rate,
    )
    terms = calibrated_terms(fleet, terms, 0, watch, "Poisson sampling")
    sigma = terms.noise_multiplier
    return PlannedMechanism(
        name="Poisson sampling",
        terms=terms,
        participations=0,
        noise_multiplier=sigma,
        deviation=sigma / fleet.cohort,
        path_error=path_error(sigma / fleet.cohort, fleet.rounds),
        job=job_keys(fleet, terms, _clipped(fleet, sigma)),
        note=f"each agent is drawn with the probability {rate:.3g}, in secret",
    )


def _adaptive(fleet: PlannedFleet, poisson: PlannedMechanism) -> PlannedMechanism:
    """Plan adaptive clipping: the noise of the updates is greater, since the bits cost some ε."""
    sigma = poisson.noise_multiplier
    stddev = max(fleet.cohort * DEFAULT_STDDEV_SHARE, sigma)
    of_sum = 1 / sqrt(sigma**-2 - (2 * stddev) ** -2)
    terms = replace(poisson.terms, mechanism="dp-adaptive")
    mechanism = {"noise_multiplier": sigma, "clip_count_stddev": stddev}
    return PlannedMechanism(
        name="adaptive clipping",
        terms=terms,
        participations=0,
        noise_multiplier=sigma,
        deviation=of_sum / fleet.cohort,
        path_error=path_error(of_sum / fleet.cohort, fleet.rounds),
        job=job_keys(fleet, terms, mechanism),
        note="with Poisson sampling; the clipping norm follows the updates, and so does the noise",
    )


def _banded(fleet: PlannedFleet, watch: Watch) -> Iterator[PlannedMechanism]:
    present = max(fleet.cohort, int(fleet.agents * (1 - fleet.away)))
    separation = min(widest_separation(present, fleet.cohort), fleet.rounds)
    times = ceil(fleet.rounds / separation)
    watch("banded noise: the best number of bands")
    bands = best_bands(separation, times, fleet.rounds)
    terms = fleet_terms(
        fleet,
        mechanism="dp-banded",
        release="banded",
        correlated=True,
        bands=bands,
        min_separation=separation,
        max_participations=times,
    )
    terms = calibrated_terms(fleet, terms, times, watch, "banded noise")
    sigma = terms.noise_multiplier
    mechanism = {
        **_clipped(fleet, sigma),
        "min_separation": separation,
        "max_participations": times,
        "bands": bands,
    }
    often = f"an agent takes part once in {counted(separation, 'round')} at most"
    missing = counted(fleet.agents - present, "agent")
    yield PlannedMechanism(
        name="banded noise",
        terms=terms,
        participations=times,
        noise_multiplier=sigma,
        deviation=round_deviation(sigma, bands, times, fleet.rounds) / fleet.cohort,
        path_error=banded_path_error(sigma, bands, times, fleet.rounds) / fleet.cohort,
        job=job_keys(fleet, terms, mechanism),
        note=f"{often}, {times} times in all; {missing} may be away",
    )


def _fixed(fleet: PlannedFleet, watch: Watch) -> PlannedMechanism:
    times = likely_participations(fleet.agents, fleet.cohort, fleet.rounds)
    terms = fleet_terms(fleet, mechanism="dp-fixed")
    terms = calibrated_terms(fleet, terms, times, watch, "fixed cohorts")
    sigma = terms.noise_multiplier
    return PlannedMechanism(
        name="fixed cohorts",
        terms=terms,
        participations=times,
        noise_multiplier=sigma,
        deviation=sigma / fleet.cohort,
        path_error=path_error(sigma / fleet.cohort, fleet.rounds),
        job=job_keys(fleet, terms, _clipped(fleet, sigma)),
        note=f"if no agent takes part in more than {times} rounds, as cohorts drawn by chance do",
    )


def _shared(fleet: PlannedFleet, fixed: PlannedMechanism) -> PlannedMechanism:
    mechanism = {"noise_multiplier": fixed.noise_multiplier, "server_side_noising": False}
    mechanism |= {"clipping_norm": fleet.clipping_norm}
    terms = replace(fixed.terms, noise="agents", clipping="trusted")
    return replace(
        fixed,
        name="local noise",
        terms=terms,
        job=job_keys(fleet, terms, mechanism),
        note=f"as fixed cohorts, if all {fleet.cohort} agents come: each adds a share of the noise",
    )


def _local(fleet: PlannedFleet, watch: Watch) -> Iterator[PlannedMechanism]:
    """Plan noise in each update: two updates differ by twice the clipping norm."""
    times = likely_participations(fleet.agents, fleet.cohort, fleet.rounds)
    terms = fleet_terms(fleet, mechanism="ldp-gaussian", relation="replace-one", **OF_EACH_AGENT)
    terms = calibrated_terms(fleet, terms, times, watch, "noise of each agent")
    sigma = 2 * terms.noise_multiplier
    yield PlannedMechanism(
        name="noise of each agent",
        terms=terms,
        participations=times,
        noise_multiplier=sigma,
        deviation=sigma / sqrt(fleet.cohort),
        path_error=path_error(sigma / sqrt(fleet.cohort), fleet.rounds),
        job=job_keys(fleet, terms, _clipped(fleet, sigma)),
        note=f"protects agents from the collector as well; at most {times} rounds of an agent",
    )


def _dp_sgd(fleet: PlannedFleet, watch: Watch) -> Iterator[PlannedMechanism]:
    training = fleet.training
    if training is None:
        return
    times = likely_participations(fleet.agents, fleet.cohort, fleet.rounds)
    steps = dp_sgd_steps(
        TrainingParams(batch_size=training.batch, epochs=training.epochs), training.examples
    )
    terms = fleet_terms(
        fleet,
        mechanism="dp-sgd",
        release="dp-sgd",
        unit="example",
        **OF_EACH_AGENT,
        delta=training.delta,
        rate=steps.rate,
        steps=steps.total,
    )
    terms = calibrated_terms(fleet, terms, times, watch, "DP-SGD")
    sigma = terms.noise_multiplier
    mechanism = {"noise_multiplier": sigma, "max_grad_norm": fleet.clipping_norm}
    mechanism |= {"least_examples": training.examples}
    yield PlannedMechanism(
        name="DP-SGD",
        terms=terms,
        participations=times,
        noise_multiplier=sigma,
        deviation=sigma / training.batch,
        path_error=None,
        job={
            **job_keys(fleet, terms, mechanism, cohorts=False),
            "config": [{"batch_size": training.batch, "epochs": training.epochs}],
        },
        note=f"protects examples, not agents; at most {times} rounds of an agent",
    )
