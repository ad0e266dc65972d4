"""Planning: a plan is stored before an agent is asked."""

import threading
from dataclasses import replace

import pytest

from fedbus.jobs import JobFile
from fedbus.strategies import part_factories
from fedbus.training.params import PluginChoice
from fedbus.wire.documents import JobState, ModelNeeds
from fedbus.wire.messages import (
    EndJob,
    JobEnded,
    JobFault,
    JobFileRefused,
    JobLoaded,
    JobsListed,
    LeaseGranted,
    LoadJob,
    OpenRound,
    PlanStored,
    TrainTask,
)
from fedbus.wire.round_records import Plan
from fedbus.wire.strategies import Strategy
from fedbus_controller import keys
from tests.controller.harness import (
    COLLECTOR,
    EVALUATOR,
    JOB,
    OTHER_COLLECTOR,
    REPOSITORY,
    A,
    B,
    C,
    Harness,
    facts,
    job_file,
    loaded,
    version,
)
from tests.plugin_package import Install


def plan(**changes: object) -> Plan:
    """Make the plan of a first round."""
    plain = {
        "job": JOB,
        "round": 1,
        "task": 4,
        "base": version(1),
        "collector": COLLECTOR,
        "cohort": (A, B, C),
        "quorum": 2,
        "deadline_seconds": 10.0,
    }
    return Plan(**(plain | changes))  # type: ignore[arg-type]  # of many types


def test_a_round_is_planned_as_soon_as_all_wanted_agents_are_there() -> None:
    """From the latest version, as the job's next round and task."""
    harness = Harness()
    harness.begin()
    planned = harness.planned
    assert (planned.round, planned.task, planned.base) == (1, 1, version(1))
    assert (planned.collector, sorted(planned.cohort)) == (COLLECTOR, [A, B, C])
    assert (planned.quorum, planned.deadline_seconds) == (2, 10.0)


def test_no_agent_is_asked_before_the_plan_is_stored() -> None:
    """So that a restarted controller asks the same agents for the same tasks."""
    harness = Harness()
    harness.begin()
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]
    assert harness.sent(TrainTask) == []
    planned = harness.open_round()
    assert harness.sent_to(COLLECTOR, OpenRound).plan == planned
    tasks = [harness.sent_to(agent, TrainTask) for agent in (A, B, C)]
    assert {task.members for task in tasks} == {3}
    assert len({task.params.seed for task in tasks}) == 3
    assert harness.state().phase == "running"
    assert harness.state().agents == 3


def test_the_same_secret_makes_the_same_plan() -> None:
    """A run can be replayed, and not predicted."""
    stands = [Harness(), Harness(), Harness()]
    nodes = (COLLECTOR, OTHER_COLLECTOR, *(f"agent.{number}" for number in range(30)))
    for harness, secret in zip(stands, (b"s", b"s", b"t"), strict=True):
        harness.begin(loaded(secret=secret), *nodes)
    first, second, other = (harness.planned for harness in stands)
    assert first == second
    assert first.cohort != other.cohort


def test_a_round_waits_for_agents_and_announces_it_once() -> None:
    """After a while, a quorum is enough."""
    harness = Harness()
    harness.begin(None, COLLECTOR, A)
    assert harness.state().phase == "accepted"
    assert harness.state().reason == "waiting for agents: 1 is online, 3 wanted, 2 needed"
    harness.wait(2.0)
    assert harness.sent(JobState) == []
    harness.introduce(B)
    harness.wait(2.0)
    assert keys.PlanStorage(JOB) not in harness.asks
    harness.wait(3.0)
    assert sorted(harness.planned.cohort) == [A, B]


def test_a_waiting_job_names_the_agents_that_are_offline() -> None:
    """A user learns which device to check; an agent that only evaluates is not named."""
    harness = Harness()
    harness.begin(None, COLLECTOR, A, EVALUATOR)
    harness.introduce(B, EVALUATOR, online=False)
    harness.wait(1.0)
    counts = "1 is online, 3 wanted, 2 needed"
    assert harness.state_now().reason == f"waiting for agents: {counts}; offline: agent.b"


def test_a_round_waits_for_a_collector() -> None:
    """However many agents there are."""
    harness = Harness()
    harness.begin(None, A, B, C)
    assert harness.state().reason == "waiting for a collector"
    harness.introduce(COLLECTOR)
    harness.wait(1.0)
    assert harness.planned.collector == COLLECTOR


def test_an_evaluator_is_not_asked_to_train() -> None:
    """Its data is held out."""
    harness = Harness()
    harness.begin(None, COLLECTOR, A, B, C, EVALUATOR)
    assert EVALUATOR not in harness.planned.cohort


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", "selector 'broken': by zero"),
        ("leaving", "selector 'leaving': it called sys.exit: 4"),
        ("lazy", "selector 'lazy': too late"),
        ("lost", "selector 'lost': no selectors plug-in named 'lost'"),
    ],
)
def test_a_selector_that_fails_ends_the_job_and_nothing_else(name: str, reason: str) -> None:
    """It is a third-party plug-in, or one that is not installed."""
    harness = Harness()
    harness.begin(loaded(file=job_file(plugins={"selector": name})))
    end = harness.asked(keys.JobEnding(JOB), EndJob)
    assert (end.phase, end.reason) == ("failed", reason)


def test_a_selector_that_names_too_few_is_asked_again() -> None:
    """A round below its quorum could only fail."""
    harness = Harness()
    harness.begin(loaded(file=job_file(plugins={"selector": "shy"})))
    assert harness.state().reason == "selector 'shy' chose 1 of 3 agents, 2 are needed"
    assert keys.PlanningRetry(JOB) in harness.timers
    harness.wait(61.0)
    end = harness.asked(keys.JobEnding(JOB), EndJob)
    assert end.phase == "failed"
    assert end.reason.startswith("selector 'shy' chose 1 of 3 agents")


def test_only_online_agents_are_asked_and_each_once() -> None:
    """Whatever a selector names, and at most as many as the job wants."""
    harness = Harness()
    job = loaded(file=job_file(plugins={"selector": "wild"}))
    harness.begin(job, COLLECTOR, A, B, C, "agent.d")
    assert harness.planned.cohort == (A, B, C)


def test_a_stored_plan_is_acted_upon_once() -> None:
    """An answer about an earlier plan is ignored."""
    harness = Harness()
    harness.begin()
    harness.receive(REPOSITORY, PlanStored(job=JOB, task=7))
    assert harness.last == []
    harness.open_round()
    harness.receive(REPOSITORY, PlanStored(job=JOB, task=1))
    assert harness.last == []


def test_a_job_whose_plan_is_not_stored_is_loaded_again() -> None:
    """The repository may have a later plan; it does not answer when it cannot store one."""
    harness = Harness()
    harness.begin()
    harness.wait(31.0)
    reason = "its plan was not stored in time"
    assert harness.noted("job_reloaded") == [{"job": JOB, "reason": reason}]
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == []
    harness.receive(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    harness.receive(REPOSITORY, JobsListed(jobs=(JOB,)))
    assert harness.asked(keys.JobLoading(JOB), LoadJob).job == JOB


def test_a_job_whose_plan_is_refused_is_loaded_again_at_once() -> None:
    """Its collector committed the round and was killed before it reported that."""
    harness = Harness()
    plan = harness.begin_round()
    harness.introduce(OTHER_COLLECTOR)
    harness.silent.add(COLLECTOR)
    harness.wait(8.0)
    assert (harness.planned.round, harness.planned.task) == (1, 2)
    refused = JobFileRefused(job=JOB, faults=(JobFault(key="", problem="round 1 is committed"),))
    harness.receive(REPOSITORY, refused)
    assert harness.noted("job_reloaded") == [{"job": JOB, "reason": "round 1 is committed"}]
    assert harness.asked(keys.JobLoading(JOB), LoadJob).job == JOB
    assert keys.PlanStorage(JOB) not in harness.asks
    harness.receive(REPOSITORY, loaded(rounds=1, latest=version(2), plan=plan))
    harness.wait(6.0)  # for evaluators
    assert (harness.planned.round, harness.planned.task, harness.planned.base) == (2, 2, version(2))
    harness.open_round()
    harness.receive(REPOSITORY, refused)  # a late copy
    assert keys.JobLoading(JOB) not in harness.asks


def test_a_refused_job_file_of_the_same_id_leaves_the_job_alone() -> None:
    """Its sender is told, and the plan is still being stored."""
    harness = Harness()
    harness.begin()
    harness.submit(job_file(num_rounds=7))
    harness.receive(
        REPOSITORY, JobFileRefused(job=JOB, faults=(JobFault(key="training_id", problem="taken"),))
    )
    assert harness.planned.task == 1
    assert harness.noted("job_reloaded") == []


def test_a_restarted_controller_opens_the_stored_round_again() -> None:
    """The same cohort, the same tasks, the same seeds."""
    before, after = Harness(), Harness()
    stored = before.begin_round()
    seeds = {task.params.seed for task in before.sent(TrainTask)}
    after.begin(loaded(plan=stored))
    assert after.sent_to(COLLECTOR, OpenRound).plan == stored
    assert {task.params.seed for task in after.sent(TrainTask)} == seeds


def test_a_plan_whose_round_is_committed_is_not_opened_again() -> None:
    """The next one is planned, and its task rises."""
    harness = Harness()
    metrics = {"accuracy": 0.5, "train_loss": 1.0}
    harness.begin(loaded(plan=plan(), rounds=1, latest=version(2), metrics=metrics))
    planned = harness.planned
    assert (planned.round, planned.task, planned.base) == (2, 5, version(2))


def test_a_job_that_is_done_is_ended_when_it_is_loaded() -> None:
    """Its controller was killed before it ended the job."""
    harness = Harness()
    harness.begin(loaded(plan=plan(round=2), rounds=2, metrics={"loss": 1.0, "train_loss": 1.0}))
    assert harness.asked(keys.JobEnding(JOB), EndJob).reason == "all 2 rounds are done"


def test_a_job_with_committed_rounds_keeps_their_strategy() -> None:
    """A newer fedbus may resolve the job's file to other parameters; commits would be refused."""
    harness = Harness()
    recorded = Strategy(id="fedavg", aggregator=PluginChoice(id="mean", parameters={"old": 1}))
    harness.begin(loaded(rounds=1, latest=version(2), strategy=recorded))
    harness.wait(6.0)  # for evaluators
    harness.open_round()
    assert harness.sent_to(COLLECTOR, OpenRound).strategy == recorded


def test_an_ended_job_is_announced_with_the_strategy_of_its_rounds() -> None:
    """Without its plug-ins, which may be gone."""
    harness = Harness()
    recorded = Strategy(id="gone", aggregator=PluginChoice(id="gone"))
    file = job_file(strategy={"id": "gone"})
    harness.begin(loaded(file=file, phase="finished", rounds=1, strategy=recorded))
    assert (harness.state().phase, harness.state().strategy) == ("finished", "gone")


def test_how_a_job_ended_is_announced_again() -> None:
    """Its controller may have been killed before it announced the end."""
    harness = Harness()
    harness.begin(loaded(phase="failed", reason="no agents", rounds=1))
    state = harness.state()
    assert (state.phase, state.reason, state.round) == ("failed", "no agents", 1)
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == []
    harness.receive(REPOSITORY, JobsListed(jobs=(JOB,)))
    assert keys.JobLoading(JOB) not in harness.asks


def test_a_job_file_that_cannot_be_read_any_more_fails_the_job() -> None:
    """Otherwise no other job could ever train its model."""
    harness = Harness()
    harness.begin(loaded(file=b'{"from": "the future"}'))
    end = harness.asked(keys.JobEnding(JOB), EndJob)
    assert end.phase == "failed"
    assert end.reason.startswith("its job file cannot be used any more")
    assert harness.state().phase == "failed"
    assert harness.state().model == "digits"


@pytest.mark.parametrize("phase", ["running", "finished"])
def test_a_stored_job_whose_strategy_exits_does_not_end_the_controller(
    monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    """The next controller would load it again, and would end as well."""

    def resolve(_: JobFile) -> Strategy:
        raise SystemExit(3)

    monkeypatch.setattr("tests.controller.harness.resolve_job", resolve)
    harness = Harness()
    harness.begin(loaded(phase=phase, strategy=None))
    assert harness.state().phase == {"running": "failed"}.get(phase, phase)
    if phase == "running":
        end = harness.asked(keys.JobEnding(JOB), EndJob)
        assert end.reason == "its job file cannot be used any more: it called sys.exit: 3"


SLOW = "import time\ntime.sleep(1.5)\nclass Slow:\n    def weight(self, facts): return 1.0"


def put_off_job(install: Install, monkeypatch: pytest.MonkeyPatch) -> tuple[Harness, JobLoaded]:
    """Load a job whose aggregator takes long to import."""
    monkeypatch.setattr(part_factories, "STRATEGY_SECONDS", 0.1)
    install("acme_slow", "[fedbus.aggregators]\nslow = acme_slow:Slow", SLOW)
    harness, slow = Harness(), loaded(file=job_file(strategy="slow"))
    harness.begin(slow)
    return harness, slow


def end_of_import() -> None:
    """Wait until the aggregator is imported."""
    [thread] = [t for t in threading.enumerate() if t.name == "aggregators slow"]
    thread.join()


def test_a_job_whose_strategy_loads_slowly_waits(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job was stored with it, so it can be used; a busy machine must not end the job."""
    harness, slow = put_off_job(install, monkeypatch)
    assert keys.JobEnding(JOB) not in harness.asks
    reason = "waiting for its strategy to load: strategy: it did not answer in 0.1 s"
    assert (harness.state().phase, harness.state().reason) == ("accepted", reason)
    assert harness.noted("job_put_off") == [{"job": JOB, "reason": reason}]
    harness.receive(REPOSITORY, slow)
    assert "an earlier call of it has not ended yet" in harness.state_now().reason
    end_of_import()
    assert harness.asked(keys.JobLoading(JOB), LoadJob).job == JOB  # it is repeated
    harness.receive(REPOSITORY, slow)
    assert harness.planned.round == 1
    assert keys.JobLoading(JOB) not in harness.asks
    assert harness.state_now().strategy == "slow"


def test_a_job_that_is_put_off_can_be_cancelled(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that never ends must not block its model."""
    harness, slow = put_off_job(install, monkeypatch)
    harness.cancel()
    assert harness.asked(keys.JobEnding(JOB), EndJob).phase == "cancelled"
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="cancelled by a user"))
    assert harness.answer() == {"job": JOB, "cancelled": True}
    harness.receive(REPOSITORY, replace(slow, phase="cancelled", reason="cancelled by a user"))
    assert harness.state().phase == "cancelled"
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == []
    end_of_import()


def test_an_unreadable_job_that_has_ended_keeps_its_end() -> None:
    """Only its state is announced again."""
    harness = Harness()
    harness.begin(loaded(file=b"{}", phase="cancelled", reason="by a user"))
    assert (harness.state().phase, harness.state().reason) == ("cancelled", "by a user")
    assert keys.JobEnding(JOB) not in harness.asks


def test_ineligible_agents_are_not_asked() -> None:
    """They would only decline; the job's reason names the cause."""
    harness = Harness()
    needs = ModelNeeds(architectures=("torch",))
    harness.begin(loaded(needs=needs), COLLECTOR, C)
    harness.introduce_as(A, facts("train", trainers=("tflite",)))
    harness.introduce_as(B, facts("train", trouble="its worker hangs"))
    harness.wait(1.0)
    why = "no trainer for the model (torch), only tflite; 1 cannot: its worker hangs"
    counts = "3 are online, 3 wanted, 2 needed"
    assert harness.state_now().reason == f"waiting for agents: {counts}; 1 cannot: {why}"
    harness.introduce_as(A, facts("train", trainers=("tflite", "torch")))
    harness.wait(5.0)
    assert sorted(harness.planned.cohort) == [A, C]


def test_a_trainer_that_a_job_names_is_looked_for() -> None:
    """Where an agent names its own."""
    harness = Harness()
    file = job_file(plugins={"trainer": "own"}, round={"agents": 1})
    harness.begin(loaded(file=file), COLLECTOR)
    harness.introduce_as(A, facts("train", trainers=("tflite",)))
    harness.wait(6.0)
    assert keys.PlanStorage(JOB) not in harness.asks
    harness.introduce_as(B, facts("train", trainers=("own",)))
    harness.wait(6.0)
    assert harness.planned.cohort == (B,)
