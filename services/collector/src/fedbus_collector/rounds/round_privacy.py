"""Privacy of one round: its key, its ledger entry, and the noise that is drawn after it. Pure.

The order is what makes ε true: the repository stores the entry first, so noise that is drawn and
then lost with its round is paid for; and the entry names the updates, so another set of updates for
the same task gets no noise.
"""

from collections.abc import Iterator
from typing import Final

from fedbus.core.actions import Action, Ask, Cancel, Note
from fedbus.errors import FedbusError, LayoutError, SettingsError, StoreError
from fedbus.model.sections import untrained_tensors
from fedbus.plugins.privacy_mechanism_calls import PrivacyMechanismCalls
from fedbus.privacy.ledger_entries import entry_of_round, is_drawn_by_collector
from fedbus.privacy.noise_key import NoiseKey
from fedbus.text import listed
from fedbus.wire.messages import NoiseRecorded, NoiseRefused, RecordNoise
from fedbus.wire.privacy import LedgerEntry, NoiseStep, PrivacySpent
from fedbus_collector import keys
from fedbus_collector.aggregation.private_step import PrivateStep
from fedbus_collector.aggregation.tensor_runs import UpdateRuns
from fedbus_collector.noise_key_watch import NoiseKeyWatch
from fedbus_collector.rounds.progress import RoundPhase, RoundProgress

_NOISE_COST: Final = 4
"""Drawing a normal number takes about as long as verifying this many numbers of updates."""


class RoundPrivacy:
    """What a round owes to its job's privacy terms; nothing if there are none.

    It is the closing stage of private rounds: before the ledger has the entry, nothing is combined.

    Attributes:
        terms: What the job promises; None: nothing.
        reading: Whether a worker thread reads the key.
        spent: What the job has spent with this round; None before the ledger has its entry.
    """

    phase = RoundPhase.RECORDING

    def __init__(self, progress: RoundProgress, watch: NoiseKeyWatch) -> None:
        self.terms = progress.request.strategy.privacy
        self.reading = False
        self.spent: PrivacySpent | None = None
        self._progress = progress
        self._watch = watch
        self._key: NoiseKey | None = None
        self._entry: LedgerEntry | None = None
        self._steps: tuple[NoiseStep, ...] = ()

    @property
    def needs_key(self) -> bool:
        """Whether this collector draws the round's noise."""
        return self.terms is not None and is_drawn_by_collector(self.terms)

    @property
    def ready(self) -> bool:
        """Whether the round may close: its key was read and is the plan's, if it needs one."""
        return self._key is not None or not self.needs_key

    @property
    def passes(self) -> int:
        """How often drawing noise takes as long as reading the model once.

        Banded noise is drawn again for each step of the ledger.
        """
        return _NOISE_COST * len(self._steps) if self.needs_key else 0

    @property
    def done(self) -> bool:
        """Whether the ledger has the round's entry."""
        return self.spent is not None

    def read_key(self) -> Iterator[Action]:
        """Have the key read, if the round needs one.

        Raises:
            SettingsError: This collector has no key, or the plan names none.
        """
        if not self.needs_key:
            return
        if self._progress.plan.noise_key is None:
            raise SettingsError("the plan names no noise key, and this job's collectors draw noise")
        run = self._watch.read(keys.NoiseKeyRead(*self._progress.key))
        self.reading = True
        yield run

    def key_read(self, key: NoiseKey) -> None:
        """Keep the key; raise SettingsError if it is not the plan's."""
        self.reading = False
        planned = self._progress.plan.noise_key
        assert planned is not None  # noqa: S101 - `read_key` has checked it
        if fault := self._watch.fault(key, planned):
            raise SettingsError(fault)
        self._key = key

    def check_layout(self, runs: UpdateRuns) -> None:
        """Raise LayoutError if a shared tensor of a private job would get no noise.

        Features have theirs before any training, so the model may have any tensors.
        """
        if self.terms is None or self.terms.release == "features":
            return
        if bare := [tensor.name for tensor in untrained_tensors(runs.layout)]:
            raise LayoutError(
                f"a private job cannot share {listed(bare)}: only trained floating-point tensors"
                " have noise; replace batch normalization, or give them the role local"
            )

    def begin(self, now: float) -> Iterator[Action]:  # noqa: ARG002 - as other closing stages
        """Have the repository store the entry of the updates that count."""
        assert self.terms is not None  # noqa: S101 - the caller has checked it
        progress = self._progress
        self._entry = entry_of_round(progress.plan, self.terms, progress.counted.values())
        request = RecordNoise(entry=self._entry)
        yield Ask(keys.LedgerRequest(*progress.key), progress.plan.base.source, request)

    def awaits(self, answer: NoiseRecorded | NoiseRefused) -> bool:
        """Return whether an answer is about the updates that this process has asked for.

        It may be about those of an earlier process at this collector.
        """
        recording = self._progress.phase is RoundPhase.RECORDING
        return recording and self._entry is not None and self._entry.updates == answer.updates

    def recorded(self, answer: NoiseRecorded, now: float) -> Iterator[Action]:
        """Keep what the ledger says; raise StoreError if it is not about this round's entry."""
        assert self._entry is not None  # noqa: S101 - the answer is to `begin`
        yield Cancel(keys.LedgerRequest(*self._progress.key))
        entry, steps = self._entry, answer.steps
        if entry.updates is not None:
            own = NoiseStep(round=entry.round, task=entry.task, updates=entry.updates)
            steps = steps or (own,)
            missing = self._needs_earlier_noise and len(steps) != answer.spent.entries
            if missing or steps[-1] != own:
                raise StoreError(
                    "the ledger's steps do not end with this round's, or some are missing: the"
                    " repository and this collector need the same version of fedbus"
                )
        self.spent, self._steps = answer.spent, steps
        self._progress.seconds["recorded"] = now - self._progress.opened
        facts = {"epsilon": answer.spent.epsilon, "entries": answer.spent.entries}
        yield Note("noise_recorded", self._progress.log_facts(**facts))

    @property
    def _needs_earlier_noise(self) -> bool:
        return self.terms is not None and self.terms.correlated

    def step(self, mechanism: PrivacyMechanismCalls | None) -> PrivateStep | None:
        """Return the mechanism's step with the round's noise; None if it has no half here.

        Raises:
            FedbusError: The mechanism draws noise, and the ledger has no entry.
        """
        if mechanism is None or self.terms is None:
            return None
        noise = None
        if mechanism.collector_draws_noise:
            if self._key is None or self.spent is None:
                raise FedbusError("no noise may be drawn before the ledger has its entry")
            from fedbus.privacy.noise import KeyedNoise  # noqa: PLC0415 - cryptography is large

            strategy = self._progress.request.strategy
            noise = KeyedNoise(self._key, self._progress.plan.job, self._steps, strategy)
        return PrivateStep(mechanism=mechanism, noise=noise, cohort=self.terms.cohort)

    def close(self) -> None:
        """Forget the key."""
        self._key = None
