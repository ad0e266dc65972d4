"""Context of a job: its file, lease epoch and secret; services that all jobs share. Pure."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from fedbus.jobs import JobFile, training_params_of
from fedbus.plugins import Selector
from fedbus.training.params import TrainingParams
from fedbus.wire.features import FeatureTerms
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.strategies import Strategy, StrategyState
from fedbus_controller.fleet import Fleet

SYNC_EPOCHS: Final = "sync_epochs"
"""The number of a strategy's state that says how many epochs the next round has."""


@dataclass(frozen=True, slots=True)
class Services:
    """Services that all jobs share; `utc` returns the time for documents.

    `strategy` resolves a job's strategy, and raises FedbusError if a part cannot be used.
    """

    repository: str
    fleet: Fleet
    selector: Callable[[str], Selector]
    strategy: Callable[[JobFile], Strategy]
    utc: Callable[[], Timestamp]


@dataclass(frozen=True, slots=True)
class JobContext:
    """Content that the messages of a job have in common."""

    job: str
    file: JobFile
    epoch: int
    secret: bytes
    strategy: Strategy
    params: TrainingParams = field(init=False)
    """The training parameters of the file and the strategy, built once for all tasks."""

    def __post_init__(self) -> None:
        """Build the training parameters."""
        params = replace(
            training_params_of(self.file),
            objective=self.strategy.objective,
            update_transforms=self.strategy.update_transforms,
        )
        object.__setattr__(self, "params", params)

    @property
    def terms(self) -> PrivacyTerms | None:
        """What the job promises; None: nothing."""
        return self.strategy.privacy

    @property
    def feature_terms(self) -> FeatureTerms | None:
        """What a MistNet job promises to those who send features; None: it is another job."""
        chosen = self.file.privacy_mechanisms.mistnet
        if chosen is None:
            return None
        return FeatureTerms(
            cut_layer=chosen.cut_layer, epsilon=chosen.epsilon, features=chosen.features
        )

    @property
    def feature_trainers(self) -> tuple[str, ...]:
        """The agents that a MistNet job names to train on features; () for another job."""
        chosen = self.file.privacy_mechanisms.mistnet
        return () if chosen is None else chosen.trainers

    @property
    def samples_in_secret(self) -> bool:
        """Whether the job's ε holds only while its cohorts are secret, even their size."""
        return self.terms is not None and self.terms.poisson

    def expected_members(self, cohort: int) -> int:
        """Return the number of agents that a round's messages state: agents learn it.

        For Poisson sampling it is the number that is expected, since that of a cohort is secret.
        """
        terms = self.terms
        return cohort if terms is None or not self.samples_in_secret else terms.cohort

    @property
    def encryption_key(self) -> str | None:
        """The id of the key that the job's updates are encrypted with; None: they are not."""
        return None if self.strategy.encryption is None else self.strategy.encryption.key

    def params_after(self, state: StrategyState | None) -> TrainingParams:
        """Return the training parameters of the round that continues a state.

        With adaptive synchronization, the rounds before decide how many epochs it has.
        """
        sync = self.strategy.sync
        if sync is None:
            return self.params
        epochs = sync.epochs if state is None else state.numbers.get(SYNC_EPOCHS, sync.epochs)
        return replace(self.params, epochs=max(1, round(epochs)))

    def mechanism_numbers(self, state: StrategyState | None) -> Mapping[str, float]:
        """Return the numbers that agents need to protect their updates, such as a clipping norm."""
        return {} if self.terms is None or state is None else state.numbers

    def rng(self, *purpose: object) -> Random:
        """Return a generator for a purpose; without the job's secret it cannot be predicted."""
        text = "\0".join((self.job, *(str(part) for part in purpose)))
        return Random(hashlib.sha256(self.secret + text.encode()).digest())
