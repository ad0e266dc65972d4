"""Versions as a round, a push or an evaluation makes them. Pure."""

from dataclasses import replace

from fedbus.energy.energy_sums import total_energy
from fedbus.training.options import without_training_metrics
from fedbus.wire.blobs import BlobRef
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.identifiers import Metrics, Timestamp
from fedbus.wire.messages import PushModel
from fedbus.wire.round_records import RoundRecord, public_record
from fedbus.wire.strategies import hides_agents
from fedbus_repository.stores.derived_versions import derived_version
from fedbus_repository.stores.records import Version
from fedbus_repository.stores.rules import merge_metrics


def version_of_round(record: RoundRecord, weights: BlobRef, at: Timestamp) -> Version:
    """Return the version that a round makes."""
    return Version(
        model=record.model,
        version=record.parent + 1,
        parent=record.parent,
        weights=weights,
        spec=record.spec,
        job=record.job,
        round=record.round,
        contributors=len(record.contributors),
        metrics=public_record(record).metrics,
        strategy=record.strategy,
        state=record.state,
        privacy=record.privacy,
        encryption=record.encryption,
        thin=record.thin,
        energy=record.energy,
        at=at,
    )


def pushed_version(
    message: PushModel, parent: Version | None, source: Version | None, at: Timestamp
) -> Version:
    """Return the version that no round makes.

    `parent` is the latest version of the model, `source` the one that it is derived from.
    """
    made = Version(
        model=message.model,
        version=1 if parent is None else parent.version + 1,
        parent=None if parent is None else parent.version,
        weights=message.weights,
        spec=message.spec,
        pinned=True,
        encryption=message.encryption,
        derived=message.derived,
        at=at,
    )
    return derived_version(made, source)


def evaluated_version(
    found: Version, record: RoundRecord, evaluation: Metrics, energy: EnergyUsed | None
) -> Version:
    """Return a round's version with held-out metrics, and with the energy of its evaluators.

    The same evaluation may come twice, so the energy is added to that of the round's record.
    Metrics of training are left out if the job hides its agents: ε does not cover them.
    """
    if hides_agents(found.strategy) or found.privacy is not None:
        evaluation = without_training_metrics(evaluation)
    return replace(
        found,
        metrics=merge_metrics(found.metrics, evaluation),
        evaluated=True,
        energy=total_energy((record.energy, energy)),
    )
