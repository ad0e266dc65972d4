"""Anchors stay as long as an encrypted version needs them, whatever is stored in whatever order."""

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fedbus.wire.messages.model_requests import Derivation
from fedbus_repository.stores.records import HistoryEntry, StoredJob, StoreRefusal, Version
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.harness import (
    FEDAVG,
    MODEL,
    load,
    plan_of,
    push,
    push_of,
    put,
    record_of,
)
from tests.repository.protected_jobs import (
    ENCRYPTED,
    OTHER_ENCRYPTION_KEY,
    protected_plan,
    protected_record,
)


class AnchorMachine(RuleBasedStateMachine):
    """Jobs with and without encryption on one model, releases, rotations and pushes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = self.opened()
        push(self.store)
        self.jobs = self.made = 0
        self.running: str | None = None

    def opened(self) -> SqliteStore:
        return SqliteStore(Path(self.folder.name), keep=2, durable=False)

    def teardown(self) -> None:
        """Clean up."""
        self.store.close()
        self.folder.cleanup()

    @property
    def latest(self) -> Version:
        (version,) = self.store.latest()
        return version

    def content(self) -> bytes:
        """Other bytes for each version."""
        self.made += 1
        return b"version %d" % self.made

    @precondition(lambda self: self.running is None)
    @rule(encrypts=st.booleans())
    def begin(self, encrypts: bool) -> None:
        """Store a job; it is refused exactly if it cannot continue the encryption of its base."""
        self.jobs += 1
        strategy, found = ENCRYPTED if encrypts else FEDAVG, self.latest.encryption
        job = f"job-{self.jobs}"
        answer = self.store.store_job(0, job, MODEL, b"{}", strategy=strategy)
        fits = found is None or (encrypts and found.key != OTHER_ENCRYPTION_KEY)
        assert isinstance(answer, StoredJob if fits else StoreRefusal)
        self.running = job if fits else None

    @precondition(lambda self: self.running)
    @rule()
    def commit(self) -> None:
        """Commit the next round of the running job."""
        assert self.running is not None
        job = load(self.store, self.running)
        encrypts = job.strategy == ENCRYPTED
        plan = protected_plan(job) if encrypts else plan_of(job)
        assert self.store.store_plan(0, plan) == plan
        record = protected_record(plan, job.latest) if encrypts else record_of(plan)
        done = self.store.commit(record, put(self.store, self.content()))
        assert isinstance(done, HistoryEntry)

    @precondition(lambda self: self.running)
    @rule(accuracy=st.floats(0, 1))
    def evaluate(self, accuracy: float) -> None:
        """Score the newest round; the best version keeps its weights."""
        assert self.running is not None
        rounds = load(self.store, self.running).rounds
        self.store.store_evaluation(0, self.running, rounds, {"accuracy": accuracy})

    @precondition(lambda self: self.running)
    @rule()
    def end(self) -> None:
        """End the running job."""
        assert self.running is not None
        self.store.end_job(0, self.running, "finished", "")
        self.running = None

    @rule(kind=st.sampled_from(["release", "rotation"]))
    def derive(self, kind: str) -> None:
        """Release or rotate the newest version, if it is encrypted and no job runs."""
        found, content = self.latest, self.content()
        derived = Derivation(kind="release", version=found.version, by="ana")
        message = push_of(found.spec, put(self.store, content), derived=derived)
        if kind == "rotation" and found.encryption is not None:
            other = replace(found.encryption, key=OTHER_ENCRYPTION_KEY)
            rotation = replace(derived, kind="rotation")
            message = replace(message, derived=rotation, encryption=other)
        fits = self.running is None and found.encryption is not None
        if fits and kind == "rotation":
            assert found.encryption is not None
            fits = found.encryption.key != OTHER_ENCRYPTION_KEY
        answer = self.store.push(message, ())
        assert isinstance(answer, Version if fits else StoreRefusal)
        self.store.delete_unreferenced((message.weights,))

    @precondition(lambda self: self.running is None)
    @rule()
    def reset(self) -> None:
        """Push other weights over whatever is there."""
        message = push_of(self.latest.spec, put(self.store, self.content()), reset=True)
        assert isinstance(self.store.push(message, ()), Version)

    @rule()
    def restart(self) -> None:
        """The process ends and starts, and sweeps blobs."""
        self.store.close()
        self.store = self.opened()

    @invariant()
    def every_version_that_is_kept_can_be_read(self) -> None:
        """Its weights are here, and its anchor's; nothing else is kept for long."""
        versions = {each.version.version: each.version for each in self.store.history()}
        kept = [each for each in versions.values() if each.kept]
        assert self.latest.kept
        needed = set()
        for each in kept:
            assert self.store.holds(each.weights)
            if each.encryption is not None:
                anchor = versions[each.encryption.anchor]
                assert (anchor.encryption, anchor.weights) == (None, each.encryption.anchor_weights)
                assert anchor.kept
                needed.add(anchor.version)
        plain = [each for each in kept if not each.pinned and each.version not in needed]
        assert len(plain) <= 3  # two newest ones and the best


AnchorMachine.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestAnchorMachine = AnchorMachine.TestCase


def test_the_oldest_weights_that_are_kept_are_those_of_the_anchor(tmp_path: Path) -> None:
    """The first push is pinned, so an anchor that a job made is tried: it is kept as well."""
    store = SqliteStore(tmp_path, keep=2, durable=False)
    push(store)
    made = 0
    for job, strategy in (("a", FEDAVG), ("b", ENCRYPTED)):
        assert isinstance(store.store_job(0, job, MODEL, b"{}", strategy=strategy), StoredJob)
        for _ in range(5):
            made += 1
            found = load(store, job)
            encrypts = strategy == ENCRYPTED
            plan = protected_plan(found) if encrypts else plan_of(found)
            store.store_plan(0, plan)
            record = protected_record(plan, found.latest) if encrypts else record_of(plan)
            store.commit(record, put(store, b"%d" % made))
        store.end_job(0, job, "finished", "")
    versions = [each.version for each in store.history()]
    store.close()
    assert {each.encryption.anchor for each in versions if each.encryption} == {6}
    kept = [each.version for each in versions if each.kept]
    assert kept[0] == 1
    assert 6 in kept
    assert kept[-2:] == [10, 11]
