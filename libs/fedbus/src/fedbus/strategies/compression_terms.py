"""A job's steps for smaller updates and versions, in its strategy. Pure."""

from dataclasses import replace
from typing import Any

from fedbus.jobs import JobFile
from fedbus.jobs.compression_options import COMPRESSING, StepConfig, StepId, Steps
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import Compression
from fedbus.wire.compression import FREEZING_STATE, SYNC_STATE, Freezing, SyncFrequency
from fedbus.wire.strategies import Strategy


def with_smaller_blobs(strategy: Strategy, job: JobFile) -> Strategy:
    """Return a strategy with what its job asks of updates, versions and energy.

    Freezing and synchronization keep arrays with the strategy's state. The energy that a
    training uses depends on the agent's data, so that of private, encrypted and masked trainings is
    not measured.
    """
    freezing, sync = freezing_of(job), sync_of(job)
    state = (
        *strategy.state,
        *(() if freezing is None else FREEZING_STATE),
        *(() if sync is None else SYNC_STATE),
    )
    return replace(
        strategy,
        compression=_chain(job.transmitter),
        download=_chain(job.download),
        freezing=freezing,
        sync=sync,
        state=state,
        measures_energy=job.energy and not (strategy.privacy or job.privacy_mechanisms.protection),
    )


def freezing_of(job: JobFile) -> Freezing | None:
    """Return how a job freezes parameters; None: it does not."""
    found = step_of(job.transmitter, "adaptive-freezing")
    return None if found is None else Freezing(**_parameters(found))


def sync_of(job: JobFile) -> SyncFrequency | None:
    """Return how a job changes its local epochs; None: it does not."""
    found = step_of(job.transmitter, "adaptive-sync")
    if found is None:
        return None
    parameters = _parameters(found)
    return SyncFrequency(epochs=parameters.pop("sync_frequency"), **parameters)


def step_of(steps: Steps, name: StepId) -> StepConfig | None:
    """Return the first step of an id; None: there is none."""
    return next((step for step in steps if step.id == name), None)


def _chain(steps: Steps) -> Compression:
    return tuple(
        PluginChoice(id=step.id, parameters=step.parameters)
        for step in steps
        if step.id in COMPRESSING
    )


def _parameters(step: StepConfig) -> dict[str, Any]:
    return dict(step.parameters)
