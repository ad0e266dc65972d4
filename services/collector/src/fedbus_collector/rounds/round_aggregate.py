"""The new version of one round, and the blobs beside it: written, served, then cached. Pure.

Their spools are created in the event loop.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, TypeAlias

from fedbus.blobs.spool import Spool, Spools
from fedbus.compression import compressed_bounds
from fedbus.compression.round_chance import round_rng
from fedbus.core.actions import Action, Run, Serve, Unserve
from fedbus.limits import MAX_INLINE_WEIGHTS_BYTES
from fedbus.model.blob_header import blob_size
from fedbus.model.frozen_bits import frozen_layout
from fedbus.wire.blobs import BlobRef, CompressedBlob, ModelRef
from fedbus.wire.messages import Commit
from fedbus.wire.privacy import PrivacySpent
from fedbus.wire.round_records import RoundRecord
from fedbus.wire.strategies import StrategyState
from fedbus_collector import keys
from fedbus_collector.aggregation.aggregate import Aggregate, Aggregation
from fedbus_collector.aggregation.encrypted_aggregation import EncryptedAggregation
from fedbus_collector.aggregation.encrypted_total import EncryptedTotal
from fedbus_collector.aggregation.kept_updates import KeptUpdates
from fedbus_collector.aggregation.server_step import ServerStep
from fedbus_collector.aggregation.state_blocks import StrategyArrays
from fedbus_collector.aggregation.tensor_runs import UpdateRuns
from fedbus_collector.aggregation.thin_version import ThinVersion
from fedbus_collector.collector_parts import StrategyParts
from fedbus_collector.model_cache import ModelCache
from fedbus_collector.rounds.inputs import RoundInputs
from fedbus_collector.rounds.progress import RoundProgress
from fedbus_collector.rounds.round_observers import observers_of
from fedbus_collector.rounds.round_privacy import RoundPrivacy
from fedbus_collector.rounds.round_record import record_of
from fedbus_collector.rounds.updates import BRIEF_RUN_BYTES, RoundUpdates

WrittenPart: TypeAlias = Literal["weights", "state", "frozen", "thin"]
"""A blob that the worker thread writes."""


class RoundAggregate:
    """Has the aggregate of a round computed, and serves it to the repository.

    Attributes:
        running: Whether a worker thread writes the aggregate.
        inline_weights: The committed version's weights, if at most MAX_INLINE_WEIGHTS_BYTES.
    """

    def __init__(self, progress: RoundProgress, spools: Spools, cache: ModelCache) -> None:
        self.running = False
        self.inline_weights: bytes | None = None
        self._progress = progress
        self._spools = spools
        self._cache = cache
        self._written: dict[WrittenPart, Spool] = {}
        self._served: dict[str, Spool] = {}

    def reserve(self, inputs: RoundInputs, updates: RoundUpdates) -> None:
        """Create the spools of the version and the state; raise StoreError if there is no room."""
        assert updates.runs is not None  # noqa: S101 - the round collects updates
        if isinstance(updates.verified, EncryptedTotal):
            self._make("weights", updates.verified.size)
            return
        self._make("weights", blob_size(updates.runs.layout, "plain"))
        if (layout := inputs.state_layout) is not None:
            self._make("state", blob_size(layout, "plain"))
        layout, strategy = updates.runs.layout, self._progress.request.strategy
        if strategy.freezing is not None:
            self._make("frozen", blob_size(frozen_layout(layout), "plain"))
        if strategy.download:
            self._make("thin", compressed_bounds(layout, strategy.download, content="plain").most)

    def start(
        self,
        parts: StrategyParts,
        inputs: RoundInputs,
        updates: RoundUpdates,
        privacy: RoundPrivacy,
    ) -> Run:
        """Have a worker thread combine the updates and write into the reserved spools."""
        runs, verified, base = updates.runs, updates.verified, inputs.base
        assert runs is not None  # noqa: S101 - the round collects updates
        assert verified is not None  # noqa: S101 - it was made with `runs`
        progress, state = self._progress, None
        out, step = self._written["weights"], self._step(parts, inputs, runs, privacy)
        self.running = True
        if isinstance(verified, EncryptedTotal):
            encrypted = EncryptedAggregation(
                total=verified, agents=progress.counted_agents, step=step, out=out
            )
            return Run(keys.AggregateRun(*progress.key), encrypted.run)
        assert base is not None  # noqa: S101 - the caller has checked that inputs are complete
        if (layout := inputs.state_layout) is not None:
            state = StrategyArrays(layout, inputs.state, self._written["state"])
        aggregation = Aggregation(
            runs=runs,
            updates=verified,
            agents=progress.counted_agents,
            step=step,
            base=base,
            out=out,
            state=state,
            frozen=self._written.get("frozen"),
            thin=self._thin(),
        )
        passes = len(progress.counted) if isinstance(verified, KeptUpdates) else 1
        brief = updates.brief and out.size * (passes + privacy.passes) <= BRIEF_RUN_BYTES
        return Run(keys.AggregateRun(*progress.key), aggregation.run, brief)

    def _thin(self) -> ThinVersion | None:
        """Return what writes the thin blob: equal bytes each time that the task is repeated."""
        if (out := self._written.get("thin")) is None:
            return None
        plan = self._progress.plan
        rng = round_rng("download", plan.job, plan.round, plan.task)
        return ThinVersion(self._progress.request.strategy.download, rng, out)

    def _step(
        self, parts: StrategyParts, inputs: RoundInputs, runs: UpdateRuns, privacy: RoundPrivacy
    ) -> ServerStep:
        progress = self._progress
        return ServerStep(
            optimizer=parts.optimizer,
            transforms=parts.transforms,
            aggregator=parts.aggregator.caller.part,
            population=progress.request.strategy.population or 0,
            round=progress.state_round,
            numbers=progress.state_numbers,
            private=privacy.step(parts.mechanism),
            frozen=inputs.frozen,
            observers=observers_of(progress, runs.layout),
        )

    def _make(self, part: WrittenPart, size: int) -> None:
        self._written[part] = self._spools.make(size)

    def commit(self, made: Aggregate, spent: PrivacySpent | None) -> Commit:
        """Return the request to commit what the worker wrote, which is served from now on."""
        out = self._written["weights"]
        weights = BlobRef(digest=made.weights, size=out.size)
        self._served[made.weights] = out
        state = StrategyState(
            rounds=self._progress.state_round,
            numbers=made.numbers,
            arrays=self._blob("state", made.state),
            frozen=self._blob("frozen", made.frozen),
        )
        record = record_of(self._progress, made.used, state, spent)
        if made.thin is not None:
            self._served[made.thin.digest] = self._written["thin"]
            steps = self._progress.request.strategy.download
            record = replace(record, thin=CompressedBlob(blob=made.thin, compression=steps))
        return Commit(record=record, weights=weights)

    def _blob(self, part: WrittenPart, digest: str | None) -> BlobRef | None:
        """Serve what was written beside the weights; None: this part was not written."""
        if digest is None:
            return None
        spool = self._served[digest] = self._written[part]
        return BlobRef(digest=digest, size=spool.size)

    def serve(self) -> Iterator[Action]:
        """Serve the version and the state."""
        for digest, spool in self._served.items():
            yield Serve(digest, spool)

    def unserve(self) -> Iterator[Action]:
        """Stop serving them."""
        for digest in self._served:
            yield Unserve(digest)

    def keep(self, version: ModelRef, record: RoundRecord) -> None:
        """Cache what was committed for the next round, if this collector has made it."""
        if (out := self._served.get(version.weights.digest)) is None:
            return
        if out.size <= MAX_INLINE_WEIGHTS_BYTES:
            with out.read(0, out.size) as content:
                self.inline_weights = bytes(content)
        if record.encryption is not None:
            return  # no round computes anything from an encrypted base
        arrays = None if record.state is None else record.state.arrays
        for blob in (version.weights, arrays):
            spool = None if blob is None else self._served.get(blob.digest)
            for part in [part for part, each in self._written.items() if each is spool]:
                del self._written[part]
                if blob is not None and spool is not None:
                    self._cache.put_blob(blob.digest, spool)

    def close(self) -> None:
        """Free the spools that are not cached; not while `running`."""
        for spool in self._written.values():
            spool.close()
        self._written.clear()
