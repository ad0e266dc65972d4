"""A store stays consistent whatever requests arrive in whatever order."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fedbus.errors import StoreError
from fedbus.model.blob import decode
from fedbus.simulation.oracle import check_records
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.strategies import StrategyState
from fedbus_repository.stores.records import (
    ConfigurationEntry,
    HistoryEntry,
    StoredConfiguration,
    StoredJob,
    StoreRefusal,
)
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.faults import STEPS, Disk
from tests.repository.harness import (
    AGENTS,
    FEDAVG,
    FEDAVGM,
    FILE,
    JOB,
    LAYOUT,
    MODEL,
    begin,
    contributor,
    load,
    momentum,
    plan_of,
    put,
    record_of,
    state_after,
    update,
    weights,
)


class StoreMachine(RuleBasedStateMachine):
    """A job on one model; agents' updates, their mean, and all that may go wrong.

    `strategy` keeps arrays with each version, if it keeps any.
    """

    strategy = FEDAVG

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.disk = Disk()
        self.store = self.opened()
        begin(self.store)
        self.value = 0.0
        self.committed: dict[int, HistoryEntry] = {}
        self.updates: dict[tuple[str, int], bytes] = {}
        self.plans: list[Plan] = []
        self.configurations: dict[int, StoredConfiguration] = {}

    def opened(self) -> SqliteStore:
        return SqliteStore(Path(self.folder.name), keep=3, durable=False, on_step=self.disk)

    def digests(self) -> set[str]:
        """Return what the store has, from its folder."""
        return {path.name for path in Path(self.folder.name).glob("blobs/*/*")}

    def teardown(self) -> None:
        """Clean up."""
        self.store.close()
        self.folder.cleanup()

    def tried(self, call: Callable[[], object]) -> object:
        """Do something on a disk that may fail; if it does, nothing has changed."""
        before = [each.version for each in self.store.history()], load(self.store)
        try:
            return call()
        except StoreError:
            assert ([each.version for each in self.store.history()], load(self.store)) == before
            return None
        finally:
            self.disk.step = ""

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

    @rule(task=st.integers(-1, 2))
    def plan(self, task: int) -> None:
        """Plan the next round, with a task that may be old."""
        job = load(self.store)
        number = (job.plan.task if job.plan else 0) + task
        if number < 1:
            return
        plan = plan_of(job, task=number)
        if self.tried(lambda: self.store.store_plan(0, plan)) == plan and not job.ended:
            self.plans.append(plan)
            for at, agent in enumerate(AGENTS):
                self.updates.setdefault((agent, number), update(number + at / 4))

    @precondition(lambda self: self.plans)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        """Commit some agents' updates for a plan that may be old, or was committed before."""
        plan = data.draw(st.sampled_from(self.plans[-3:]))
        self.commit_updates(
            plan, data.draw(st.lists(st.sampled_from(AGENTS), min_size=1, max_size=3))
        )

    def commit_updates(self, plan: Plan, agents: list[str]) -> None:
        """Commit a round; a second commit is answered like the first one."""
        record = self.record(plan, agents)
        blob = self.mean(plan, agents)
        if self.strategy.state:
            record = replace(record, strategy=self.strategy, state=self.state_of(plan))

        def commit() -> object:
            if self.strategy.state:
                put(self.store, self.arrays(plan))
            return self.store.commit(record, put(self.store, blob))

        answer = self.tried(commit)
        if isinstance(answer, HistoryEntry) and plan.round not in self.committed:
            assert answer.record == record
            assert len(set(agents)) == len(agents)
            self.committed[plan.round] = answer
        elif plan.round in self.committed and answer is not None:
            assert isinstance(answer, HistoryEntry)
            assert answer.record == self.committed[plan.round].record
        else:
            assert answer is None or isinstance(answer, StoreRefusal)

    @precondition(lambda self: self.committed)
    @rule(data=st.data(), accuracy=st.floats(0, 1))
    def evaluate(self, data: st.DataObject, accuracy: float) -> None:
        """Score some version."""
        number = data.draw(st.sampled_from(sorted(self.committed)))
        self.tried(lambda: self.store.store_evaluation(0, JOB, number, {"accuracy": accuracy}))

    @rule(agent=st.sampled_from(AGENTS), task=st.integers(1, 9))
    def look_up(self, agent: str, task: int) -> None:
        """An update is stored exactly if a committed round counts it."""
        counted = any(
            (one.agent, one.task) == (agent, task)
            for each in self.committed.values()
            if each.record is not None
            for one in each.record.contributors
        )
        assert (self.store.look_up(JOB, agent, task) == "stored") == counted

    @rule()
    def accept_again(self) -> None:
        """The same job is the same job, whatever has happened to it."""
        again = self.tried(lambda: self.store.store_job(0, JOB, MODEL, b"{}"))
        assert again is None or isinstance(again, StoredJob)

    @rule(rounds=st.integers(1, 4), job=st.sampled_from(("a", "b")))
    def store_configuration(self, rounds: int, job: str) -> None:
        """Store a configuration, perhaps one that is known, in another notation."""
        tree = {"training_id": job, "model_name": MODEL, "num_rounds": rounds}
        answer = self.tried(lambda: self.store.store_configuration(json.dumps(tree).encode()))
        if isinstance(answer, ConfigurationEntry):
            known = self.configurations.setdefault(rounds, answer.stored)
            assert answer.stored == known

    @invariant()
    def each_configuration_is_stored_once(self) -> None:
        """With that of the job's own file; numbers rise from 1."""
        found = self.store.configurations(MODEL, 9)
        assert isinstance(found, tuple)
        assert [each.number for each in found] == list(range(len(found), 0, -1))
        assert {each.configuration for each in found} >= {
            each.configuration for each in self.configurations.values()
        }
        assert len({each.file for each in found}) == len(found) == len(self.configurations) + 1

    @invariant()
    def what_is_held_is_true(self) -> None:
        """The oracle, after every step."""
        checked = check_records(self.store, self.updates)
        assert checked.rounds == len(self.committed) == load(self.store).rounds

    @invariant()
    def the_newest_state_can_be_continued(self) -> None:
        """Its arrays are here, whatever was deleted; a stored plan has those of its base."""
        job = load(self.store)
        expected = max(self.committed) if self.committed else 0
        if self.strategy.state and expected:
            assert job.state is not None
            assert job.state.arrays is not None
            assert job.state.rounds == expected
            assert self.store.holds(job.state.arrays)
        else:
            assert job.state is None
        if job.plan is not None and job.plan.round == expected + 1:
            assert job.plan.state == job.state

    @rule()
    def a_restart_leaves_no_blob_that_nothing_names(self) -> None:
        """What a refused or interrupted commit left is swept."""
        self.restart()
        named = {
            blob.digest
            for each in self.store.history()
            for blob in (each.version.spec, *(each.version.blobs if each.version.kept else ()))
        }
        assert self.digests() == named | {blob_ref_of(FILE).digest}

    def arrays(self, plan: Plan) -> bytes:
        return momentum(float(plan.round % 3))  # some rounds leave the same arrays

    def state_of(self, plan: Plan) -> StrategyState:
        rounds = 1 if plan.state is None else plan.state.rounds + 1
        return state_after(rounds, self.arrays(plan))

    def record(self, plan: Plan, agents: list[str]) -> RoundRecord:
        total = sum(1 + AGENTS.index(agent) for agent in agents)
        counted = tuple(
            replace(
                contributor(agent, plan.task, self.updates[agent, plan.task]),
                examples=1 + AGENTS.index(agent),
                coefficient=(1 + AGENTS.index(agent)) / total,
            )
            for agent in agents
        )
        return record_of(plan, contributors=counted)

    def mean(self, plan: Plan, agents: list[str]) -> bytes:
        source = self.store.open_blob(plan.base.weights.digest)
        if source is None:  # so old that it cannot be committed any more
            return weights(0)
        base = decode(bytes(source.read(0, source.size)), LAYOUT)["bias"][0]
        shares = np.array([1 + AGENTS.index(agent) for agent in agents], "f8")
        values = [plan.task + AGENTS.index(agent) / 4 for agent in agents]
        return weights(float(base + np.average(values, weights=shares)))


class StateMachine(StoreMachine):
    """The same with a strategy that keeps arrays, which no oracle can compute."""

    strategy = replace(FEDAVGM, server_optimizer=PluginChoice(id="own-momentum"))


StoreMachine.TestCase.settings = StateMachine.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestStoreMachine = StoreMachine.TestCase
TestStateMachine = StateMachine.TestCase
