"""State machine of a ledger: it never understates, whatever arrives on a disk that may fail."""

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fedbus.errors import StoreError
from fedbus.privacy.budget import spent_of
from fedbus.privacy.ledger import Ledger
from fedbus.privacy.ledger_entries import entry_of_plan, entry_of_round, is_entered_with_plan
from fedbus.privacy.update_set import digest_of_update_set
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.privacy import LedgerEntry, PrivacySpent, PrivacyTerms
from fedbus.wire.round_records import Plan
from fedbus_repository.stores.ledger_records import RecordedNoise
from fedbus_repository.stores.records import HistoryEntry
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.fedbus.privacy.contributors import contributors_of
from tests.repository.faults import STEPS, Disk
from tests.repository.harness import (
    JOB,
    PRIVATE,
    TERMS,
    begin,
    contributor,
    load,
    plan_of,
    put,
    record_of,
    weights,
)

NAMES = tuple(f"agent.{letter}" for letter in "abcdef")
SETS = st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=3).map(tuple)
CONTENTS = st.sampled_from((b"one", b"one", b"one", b"two"))
WRONG = replace(TERMS, delta=0.1)


class LedgerMachine(RuleBasedStateMachine):
    """A job whose agents may take part in four steps, never in two consecutive ones."""

    plans: list[Plan]
    terms = replace(TERMS, min_separation=2, max_participations=4, target_epsilon=9.0)

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.disk = Disk()
        self.store = self.opened()
        self.private = replace(PRIVATE, privacy=self.terms)
        begin(self.store, strategy=self.private)
        self.answered: dict[int, tuple[LedgerEntry, PrivacySpent]] = {}
        self.plans = []

    def opened(self) -> SqliteStore:
        return SqliteStore(Path(self.folder.name), keep=3, durable=False, on_step=self.disk)

    def teardown(self) -> None:
        """Clean up."""
        self.store.close()
        self.folder.cleanup()

    def tried(self, call: Callable[[], object]) -> object:
        """Do something on a disk that may fail; if it does, nothing has changed."""
        before = self.entries()
        try:
            return call()
        except StoreError:
            assert self.entries() == before
            return None
        finally:
            self.disk.step = ""

    def entries(self) -> list[LedgerEntry]:
        """Read the ledger from the database."""
        with self.store._database.reading("a test") as records:  # noqa: SLF001 - what is on the disk
            return [each.entry for each in records.entries_after(JOB, 0)]

    @rule(step=st.sampled_from(STEPS), after=st.integers(0, 2))
    def break_the_disk(self, step: str, after: int) -> None:
        """The next thing that comes to this step fails."""
        self.disk.step, self.disk.left = step, after

    @rule()
    def restart(self) -> None:
        """The process ends and starts."""
        self.disk.step = ""
        self.store.close()
        self.store = self.opened()

    @rule(cohort=SETS)
    def plan(self, cohort: tuple[str, ...]) -> None:
        """Plan the next round, or a round again whose noise may have left the collector."""
        plan = plan_of(load(self.store), cohort=cohort)
        if self.tried(lambda: self.store.store_plan(0, plan)) == plan:
            self.plans.append(plan)

    @rule(cohort=SETS, content=CONTENTS)
    def round(self, cohort: tuple[str, ...], content: bytes) -> None:
        """Plan a round, and commit what was recorded for its task, if anything was."""
        self.plan(cohort)
        if self.plans:
            self.note(self.plans[-1], self.plans[-1].cohort, content)
            if self.plans[-1].task in self.answered:
                entry, spent = self.answered[self.plans[-1].task]
                self.commit_round(self.plans[-1], entry, self.terms, spent, content)

    @precondition(lambda self: self.plans)
    @rule(data=st.data(), others=SETS, content=CONTENTS)
    def record(self, data: st.DataObject, others: tuple[str, ...], content: bytes) -> None:
        """Ask to draw noise for some updates of a plan that may be old."""
        plan = data.draw(st.sampled_from((self.plans[-1], self.plans[-1], self.plans[0])))
        agents = data.draw(st.sampled_from((plan.cohort, plan.cohort, plan.cohort[:1], others)))
        self.note(plan, agents, content)

    @precondition(lambda self: self.answered)
    @rule(
        data=st.data(),
        content=CONTENTS,
        terms=st.sampled_from((None, WRONG)),
        whole=st.booleans(),
    )
    def commit(
        self, data: st.DataObject, content: bytes, terms: PrivacyTerms | None, *, whole: bool
    ) -> None:
        """Commit a round with or without its ε, its terms and its updates."""
        task = data.draw(st.sampled_from((max(self.answered), min(self.answered))))
        entry, spent = self.answered[task]
        plan = data.draw(st.sampled_from((self.plans[-1], self.plans[0])))
        self.commit_round(plan, entry, terms or self.terms, spent if whole else None, content)

    def note(self, plan: Plan, agents: tuple[str, ...], content: bytes) -> None:
        """Ask for an entry; an answered one is there from now on, with this ε."""
        updates = {agent: blob_ref_of(content).digest for agent in agents}
        entry = entry_of_round(plan, self.terms, contributors_of(updates))
        answer = self.tried(lambda: self.store.record_noise(entry))
        if isinstance(answer, RecordedNoise):
            known = self.answered.setdefault(entry.task, (entry, answer.spent))
            assert known == (entry, answer.spent)

    def commit_round(
        self,
        plan: Plan,
        entry: LedgerEntry,
        terms: PrivacyTerms,
        spent: PrivacySpent | None,
        content: bytes,
    ) -> None:
        """Commit a round that combines updates of an entry's agents."""
        record = record_of(
            plan,
            strategy=replace(self.private, privacy=terms),
            privacy=spent,
            contributors=tuple(contributor(each, plan.task, content) for each in entry.agents),
        )
        blob = weights(float(plan.task))
        self.tried(lambda: self.store.commit(record, put(self.store, blob)))

    @invariant()
    def what_was_answered_is_in_the_ledger(self) -> None:
        """With the ε that was said, and one set for each task."""
        entries = {entry.task: entry for entry in self.entries()}
        assert len(entries) == len(self.entries())
        for entry, _ in self.answered.values():
            assert entries[entry.task] == entry

    @invariant()
    def the_ledger_keeps_the_terms_and_adds_up(self) -> None:
        """As computed from its entries again."""
        entries, last, counts = self.entries(), dict[str, int](), Counter[str]()
        for number, entry in enumerate(entries, 1):
            for agent in entry.agents:
                assert number - last.get(agent, -9) >= self.terms.min_separation
                last[agent] = number
                counts[agent] += 1
        assert max(counts.values(), default=0) <= (self.terms.max_participations or 99)
        found = self.store.job_ledger(JOB)
        assert found.entries == len(entries)
        composition = Ledger(entries).composition()
        assert found.spent == (spent_of(self.terms, composition) if entries else None)
        assert found.spent is None or (found.spent.epsilon or 99) <= 9.0

    @invariant()
    def a_committed_round_is_what_its_entry_says(self) -> None:
        """Its updates, its ε, its terms."""
        entries = {entry.task: entry for entry in self.entries()}
        for each in self.store.history():
            self.check_round(each, entries)

    def check_round(self, made: HistoryEntry, entries: dict[int, LedgerEntry]) -> None:
        if made.record is None:
            return
        entry, record = entries[made.record.task], made.record
        assert record.strategy == self.private
        assert (record.privacy, made.version.privacy) == (self.spent(record.task),) * 2
        updates = {one.agent for one in record.contributors}
        if is_entered_with_plan(self.terms):
            assert updates <= {*entry.agents}
        else:
            assert updates == {*entry.agents}
            assert entry.updates == digest_of_update_set(record.contributors)

    def spent(self, task: int) -> PrivacySpent:
        before = [entry for entry in self.entries() if entry.task <= task]
        return spent_of(self.terms, Ledger(before).composition())


class AskedMachine(LedgerMachine):
    """The same with agents that draw the noise: they are in the ledger with each plan."""

    terms = replace(
        LedgerMachine.terms,
        mechanism="ldp-laplace",
        release="laplace",
        noise="agents",
        entered="with-plan",
    )

    @invariant()
    def each_plan_has_its_entry(self) -> None:
        """Each of its agents may have released something."""
        assert self.entries() == [entry_of_plan(plan, self.terms) for plan in self.plans]


LedgerMachine.TestCase.settings = AskedMachine.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLedgerMachine = LedgerMachine.TestCase
TestAskedMachine = AskedMachine.TestCase
