"""MistNet jobs at the controller: features once, then rounds of one agent that trains on them."""

from dataclasses import replace
from typing import Any

import pytest

from fedbus.wire.blobs import BlobRef
from fedbus.wire.features import AgentFeatures, FeatureTerms
from fedbus.wire.messages import (
    FeaturesReady,
    FeatureTask,
    JobEnded,
    LoadJob,
    OpenRound,
    PlanRefused,
    StopJob,
    TrainTask,
)
from fedbus.wire.round_records import Plan
from fedbus_controller import keys
from tests.controller.harness import (
    COLLECTOR,
    JOB,
    OTHER_COLLECTOR,
    REPOSITORY,
    A,
    B,
    C,
    Harness,
    committed,
    failed,
    job_file,
    loaded,
)

BIG, SPARE = "agent.big", "agent.spare"
FLEET = (COLLECTOR, A, B, C, BIG, SPARE)
MISTNET = {"cut_layer": 2, "epsilon": 8, "features": 16, "trainers": [BIG, SPARE]}


def mistnet(**changes: Any) -> bytes:  # noqa: ANN401 - whatever a job file holds
    """Write a MistNet job for three agents, of whom two must send features."""
    return job_file(**{"privacy-mechanisms": {"mistnet": MISTNET}, **changes})


def blob(agent: str) -> BlobRef:
    """Name an agent's blob."""
    return BlobRef(digest=agent[-1].encode().hex() * 32, size=100)


def of(*agents: str) -> tuple[AgentFeatures, ...]:
    """Return the features of agents, as plans have them."""
    return tuple(AgentFeatures(agent=a, features=blob(a), examples=10) for a in agents)


class MistNetHarness(Harness):
    """A controller with a MistNet job."""

    def gather(self, *agents: str, task: int = 1) -> None:
        """Answer with the features of agents."""
        for agent in agents:
            answer = FeaturesReady(job=JOB, task=task, features=blob(agent), examples=10)
            self.receive(agent, answer)

    def refuse(self, *agents: str, task: int = 1) -> None:
        """Answer that agents have no features."""
        for agent in agents:
            answer = FeaturesReady(job=JOB, task=task, features=None, reason="no torch")
            self.receive(agent, answer)

    def asked_for_features(self) -> set[str]:
        """Return the agents that are asked for features."""
        return {key.node for key in self.asks if isinstance(key, keys.FeatureRequest)}

    def reach_round(self, job: bytes = b"", **changes: Any) -> Plan:  # noqa: ANN401 - any field
        """Load a job, gather all features, and open its first round."""
        self.begin_round(loaded(file=job or mistnet(), **changes), *FLEET)
        self.gather(A, B, C)
        return self.open_round()


def test_features_are_asked_for_once_the_plan_is_stored() -> None:
    """The plan is for the agents that are not to train; the collector is not asked."""
    fake = MistNetHarness()
    fake.begin(loaded(file=mistnet()), *FLEET)
    plan = fake.planned
    assert set(plan.cohort) == {A, B, C}
    assert (plan.round, plan.task, plan.features) == (1, 1, ())
    assert not fake.asked_for_features()
    fake.open_round()
    assert fake.asked_for_features() == {A, B, C}
    task = fake.asked(keys.FeatureRequest(JOB, A), FeatureTask)
    assert task.terms == FeatureTerms(cut_layer=2, epsilon=8.0, features=16)
    assert (task.task, task.base.version, task.members) == (1, 1, 3)
    assert keys.RoundOpening(JOB) not in fake.asks


def test_one_agent_trains_on_the_features_of_all() -> None:
    """Its plan names the blobs; its task has them with the terms."""
    fake = MistNetHarness()
    fake.begin_round(loaded(file=mistnet()), *FLEET)
    fake.gather(B, A)
    assert fake.asked_for_features() == {C}
    fake.gather(C)
    assert not fake.asked_for_features()
    plan = fake.planned
    assert (plan.cohort, plan.quorum, plan.round, plan.task) == ((BIG,), 1, 1, 2)
    assert plan.features == of(A, B, C)
    fake.open_round()
    task = fake.asked(keys.TrainingRequest(JOB, BIG), TrainTask)
    assert task.features == plan.features
    assert task.feature_terms == FeatureTerms(cut_layer=2, epsilon=8.0, features=16)
    assert fake.asked(keys.RoundOpening(JOB), OpenRound).plan == plan


def test_later_rounds_use_the_same_features() -> None:
    """The agents are not asked again, and may be offline."""
    fake = MistNetHarness()
    plan = fake.reach_round()
    fake.silent = {A, B, C}
    fake.wait(10)
    fake.receive(COLLECTOR, committed(plan))
    plan = fake.planned
    assert (plan.round, plan.task, plan.cohort) == (2, 3, (BIG,))
    assert plan.features == of(A, B, C)
    assert not fake.asked_for_features()


def test_a_quorum_of_features_is_enough_at_the_deadline() -> None:
    """The silent agent is waited for until then."""
    fake = MistNetHarness()
    fake.begin_round(loaded(file=mistnet()), *FLEET)
    fake.gather(A, C)
    fake.wait(8)
    assert keys.PlanStorage(JOB) not in fake.asks
    assert fake.state_now().reason == "waiting for the features of 1 agent"
    fake.wait(3)
    assert fake.planned.features == of(A, C)


def test_a_lost_agent_is_not_waited_for() -> None:
    """Six missed heartbeats are enough."""
    fake = MistNetHarness()
    fake.begin_round(loaded(file=mistnet(round={"agents": 3, "quorum": 2})), *FLEET)
    fake.gather(A, B)
    fake.silent = {C}
    fake.wait(9)
    assert fake.planned.features == of(A, B)


def test_a_refusal_ends_the_wait() -> None:
    """Its reason is in the log, without its name, as for all private jobs."""
    fake = MistNetHarness()
    fake.begin_round(loaded(file=mistnet()), *FLEET)
    fake.refuse(B)
    fake.gather(A, C)
    assert fake.planned.features == of(A, C)
    (note,) = (note for note in fake.notes if note.event == "features_refused")
    assert note.facts == {"job": JOB, "reason": "no torch"}


def test_too_few_features_fail_the_round() -> None:
    """They are asked for again, three times; the reason names no agent."""
    fake = MistNetHarness()
    fake.begin(loaded(file=mistnet()), *FLEET)
    for task in (1, 2, 3):
        fake.open_round()
        fake.gather(A, task=task)
        fake.refuse(B, C, task=task)
        fake.receive(REPOSITORY, loaded(file=mistnet()))
        fake.wait(2)
    end = fake.asks[keys.JobEnding(JOB)].message
    assert "round 1 failed 3 times in a row" in str(end)
    assert "1 agent sent features, and 2 are needed" in str(end)
    assert "agent.b" not in str(end)


def test_answers_that_do_not_belong_to_the_plan_are_ignored() -> None:
    """Of another task, of an agent that was not asked, and repeated ones."""
    fake = MistNetHarness()
    fake.begin_round(loaded(file=mistnet()), *FLEET)
    fake.gather(A, B, C, task=7)
    fake.gather(SPARE)
    fake.gather(A)
    fake.receive(A, FeaturesReady(job=JOB, task=1, features=blob(B), examples=3))
    fake.gather(B, C)
    assert fake.planned.features == of(A, B, C)
    fake.gather(A)
    fake.open_round()
    fake.gather(A)
    assert fake.asked(keys.TrainingRequest(JOB, BIG), TrainTask).features == of(A, B, C)


def test_a_restarted_agent_is_asked_again() -> None:
    """Unless its features are known."""
    fake = MistNetHarness()
    fake.begin_round(loaded(file=mistnet()), *FLEET)
    fake.gather(A)
    del fake.asks[keys.FeatureRequest(JOB, B)]
    fake.introduce(A, B, incarnation=2)
    assert fake.asked_for_features() == {B, C}


def test_a_restarted_controller_asks_all_agents_again() -> None:
    """The plan without features says that they are being gathered."""
    first = MistNetHarness()
    plan = first.begin_round(loaded(file=mistnet()), *FLEET)
    fake = MistNetHarness()
    fake.begin(loaded(file=mistnet(), plan=plan), *FLEET)
    assert fake.asked_for_features() == {A, B, C}
    fake.gather(A, B, C)
    assert fake.planned.features == of(A, B, C)


def test_a_restarted_controller_continues_the_round_that_trains() -> None:
    """The plan with features has all that it needs."""
    plan = MistNetHarness().reach_round()
    fake = MistNetHarness()
    fake.begin(loaded(file=mistnet(), plan=plan), *FLEET)
    assert fake.asked(keys.TrainingRequest(JOB, BIG), TrainTask).features == of(A, B, C)
    assert not fake.asked_for_features()
    fake.silent = {A, B, C}
    fake.wait(8)
    fake.receive(COLLECTOR, committed(plan))
    assert fake.planned.features == of(A, B, C)


def test_a_restarted_controller_plans_the_next_round_with_the_same_features() -> None:
    """The agent that has trained has them, whether their agents are online or not."""
    plan = MistNetHarness().reach_round()
    fake = MistNetHarness()
    fake.begin(loaded(file=mistnet(), plan=plan, rounds=1), COLLECTOR, BIG)
    fake.wait(6)
    assert fake.planned.features == of(A, B, C)
    assert fake.planned.cohort == (BIG,)


def test_another_agent_takes_over_with_the_features_that_it_can_fetch() -> None:
    """Those of agents that are online. It goes on with these: it has them on its disk."""
    fake = MistNetHarness()
    plan = fake.reach_round(mistnet(num_rounds=3))
    fake.receive(COLLECTOR, committed(plan))
    plan = fake.open_round()
    fake.silent = {BIG, C}
    fake.wait(9)
    fake.receive(COLLECTOR, failed(plan))
    fake.receive(REPOSITORY, loaded(file=mistnet()))
    fake.wait(2)
    plan = fake.planned
    assert (plan.cohort, plan.features) == ((SPARE,), of(A, B))
    fake.open_round()
    fake.silent = set()
    fake.introduce(BIG, C, incarnation=2)
    fake.receive(COLLECTOR, committed(plan))
    assert (fake.planned.cohort, fake.planned.features) == ((SPARE,), of(A, B))


def test_another_agent_is_tried_first_after_a_failed_round() -> None:
    """Then the first one again, and without another one the same."""
    fake = MistNetHarness()
    plan = fake.reach_round()
    fake.receive(COLLECTOR, failed(plan))
    fake.receive(REPOSITORY, loaded(file=mistnet()))
    fake.wait(2)
    assert fake.planned.cohort == (SPARE,)
    plan = fake.open_round()
    fake.receive(COLLECTOR, failed(plan))
    fake.receive(REPOSITORY, loaded(file=mistnet()))
    fake.wait(2)
    assert fake.planned.cohort == (BIG,)


def test_an_agent_without_a_substitute_is_tried_again() -> None:
    """A failure may pass."""
    alone = {**MISTNET, "trainers": [BIG]}
    file = job_file(**{"privacy-mechanisms": {"mistnet": alone}})
    fake = MistNetHarness()
    fake.begin_round(loaded(file=file), COLLECTOR, A, B, C, BIG)
    fake.gather(A, B, C)
    fake.receive(COLLECTOR, failed(fake.open_round()))
    fake.receive(REPOSITORY, loaded(file=file))
    fake.wait(2)
    assert fake.planned.cohort == (BIG,)


def test_an_agent_that_may_train_is_waited_for() -> None:
    """The reason names the key of the job file that names those."""
    fake = MistNetHarness()
    fake.begin_round(loaded(file=mistnet()), *FLEET)
    fake.silent = {BIG, SPARE}
    fake.wait(4)
    fake.gather(A, B, C)
    assert keys.PlanStorage(JOB) not in fake.asks
    said = (
        "waiting for an agent that trains on the features: none of "
        "privacy-mechanisms.mistnet.trainers is online and able to"
    )
    assert fake.state().reason == said
    fake.introduce(SPARE, incarnation=2)
    fake.wait(2)
    assert fake.planned.cohort == (SPARE,)


def test_agents_that_serve_their_features_are_waited_for() -> None:
    """The reason names none of them."""
    fake = MistNetHarness()
    fake.begin_round(loaded(file=mistnet()), *FLEET)
    fake.silent = {B, C}
    fake.wait(4)
    fake.gather(A, B, C)
    said = "waiting for agents that serve their features: 1 agent of 3 is online, with as many"
    assert fake.state().reason.startswith(said)
    fake.introduce(B, C, incarnation=2)
    fake.wait(2)
    assert fake.planned.features == of(A, B, C)


def test_features_of_an_absurd_size_are_left_out() -> None:
    """Nothing is allocated for them: 300 MiB do not fit into half of 512 MiB."""
    fake = MistNetHarness()
    fake.begin_round(loaded(file=mistnet()), *FLEET)
    fake.gather(A, C)
    huge = replace(blob(B), size=300 * 2**20)
    fake.receive(B, FeaturesReady(job=JOB, task=1, features=huge, examples=10))
    assert fake.planned.features == of(A, C)


def test_a_job_whose_features_would_cost_too_much_ends() -> None:
    """The repository refuses the plan: no agent was asked."""
    fake = MistNetHarness()
    fake.begin(loaded(file=mistnet()), *FLEET)
    spent = "the privacy budget of ε 4 is too small: the first round would give 64"
    refused = PlanRefused(job=JOB, task=1, kind="budget", reason=spent)
    fake.receive(REPOSITORY, refused)
    assert fake.asks[keys.JobEnding(JOB)].message.reason == spent
    assert not fake.asked_for_features()


def test_the_agents_with_features_are_told_of_the_end() -> None:
    """They remove them, and so do all agents that may have fetched them."""
    fake = MistNetHarness()
    plan = fake.reach_round()
    fake.cancel()
    fake.receive(REPOSITORY, _ended())
    stopped = {key.node for key in fake.asks if isinstance(key, keys.StopRequest)}
    assert stopped == {A, B, C, BIG, SPARE, COLLECTOR}
    assert fake.asked(keys.StopRequest(JOB, A), StopJob).job == JOB
    assert plan.cohort == (BIG,)


@pytest.mark.parametrize("plan_features", [(), of(A, B, C)])
def test_a_resumed_job_tells_the_agents_with_features_of_its_end(
    plan_features: tuple[AgentFeatures, ...],
) -> None:
    """Also after a restart of the controller, whatever the stage."""
    first = MistNetHarness()
    plan = first.begin_round(loaded(file=mistnet()), *FLEET)
    if plan_features:
        first.gather(A, B, C)
        plan = first.open_round()
    fake = MistNetHarness()
    fake.begin(loaded(file=mistnet(), plan=plan), *FLEET)
    fake.cancel()
    fake.receive(REPOSITORY, _ended())
    stopped = {key.node for key in fake.asks if isinstance(key, keys.StopRequest)}
    assert {A, B, C} <= stopped


def test_a_lost_collector_is_replaced_in_a_round_that_trains() -> None:
    """As in any job; while features are gathered none is needed."""
    fake = MistNetHarness()
    fake.begin_round(loaded(file=mistnet()), *FLEET, OTHER_COLLECTOR)
    fake.silent = {COLLECTOR, OTHER_COLLECTOR}
    fake.wait(8)
    assert fake.asked_for_features() == {A, B, C}
    fake.silent = {COLLECTOR}
    fake.introduce(OTHER_COLLECTOR, incarnation=2)
    fake.gather(A, B, C)
    assert fake.planned.collector == OTHER_COLLECTOR


def test_the_ledger_is_read_once_features_were_gathered() -> None:
    """The job's state then has what they cost."""
    fake = MistNetHarness()
    fake.begin_round(loaded(file=mistnet()), *FLEET)
    fake.gather(A, B, C)
    assert fake.asked(keys.LedgerLoading(JOB), LoadJob).job == JOB


def _ended() -> JobEnded:
    return JobEnded(job=JOB, phase="cancelled", reason="cancelled by a user", at=None)
