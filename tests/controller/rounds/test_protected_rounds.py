"""Rounds with encrypted, masked or smaller updates: their plans, their tasks, who takes part."""

from dataclasses import replace
from typing import Any

import pytest

from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import BlobRef, CompressedBlob
from fedbus.wire.compression import SyncFrequency
from fedbus.wire.documents import NodeState
from fedbus.wire.encryption import EncryptionTerms, FixedPoint
from fedbus.wire.messages import EvaluateTask, JobLoaded, OpenRound, RoundEnded, TrainTask
from fedbus.wire.round_records import Plan
from fedbus.wire.secure_aggregation import SecureAggregationTerms
from fedbus.wire.strategies import Strategy, StrategyState
from fedbus_controller import keys
from fedbus_controller.rounds.protected_rounds import next_max_examples, next_ranges
from tests.controller.harness import (
    COLLECTOR,
    EVALUATOR,
    JOB,
    OTHER_COLLECTOR,
    STRATEGY,
    A,
    B,
    C,
    Harness,
    committed,
    facts,
    loaded,
    version,
)
from tests.controller.private_jobs import terms

KEY, OTHER_KEY = "1a" * 32, "2b" * 32
FIXED_POINT = FixedPoint(bits=11, max_agents=100, max_examples=25, first_range=1)
ENCRYPTED = replace(
    STRATEGY,
    encryption=EncryptionTerms(
        scheme="bfv",
        key=KEY,
        parameters="c" * 64,
        poly_modulus_degree=4096,
        coeff_mod_bit_sizes=(54, 55),
        plain_modulus=65537,
        fields=2,
        fixed_point=FIXED_POINT,
    ),
)
MASKED = replace(
    STRATEGY,
    masking=SecureAggregationTerms(
        fixed_point=FIXED_POINT, neighbours=20, threshold=0.67, step_seconds=10.0
    ),
)
STATE = StrategyState(rounds=1, ranges=(3, -2))


def job(strategy: Strategy, **changes: Any) -> JobLoaded:  # noqa: ANN401 - any field
    """Build the repository's answer about a job of this strategy."""
    return loaded(**({"strategy": strategy, "shared_tensors": 2} | changes))


def introduce(harness: Harness, node: str, key: str | None, examples: int = 10) -> None:
    """Publish a node's state with the id of its encryption key."""
    harness.incarnations[node] = 1
    role = "evaluate" if node == EVALUATOR else "train"
    own = replace(facts(role), examples=examples) if node.startswith("agent") else None
    state = NodeState(node=node, incarnation=1, online=True, agent=own, encryption_key=key)
    harness.receive(node, state)


def begin(strategy: Strategy, *nodes: str, **changes: Any) -> Harness:  # noqa: ANN401 - as `job`
    """Load a job; these nodes have its key."""
    harness = Harness()
    for node in nodes or (COLLECTOR, A, B, C):
        introduce(harness, node, KEY)
    harness.lead(jobs=(JOB,))
    harness.receive("repository.1", job(strategy, **changes))
    return harness


def with_state(plan: Plan, state: StrategyState) -> RoundEnded:
    """Build the report of a committed round that leaves a state."""
    ended = committed(plan)
    assert ended.record is not None
    return replace(ended, record=replace(ended.record, state=state))


@pytest.mark.parametrize("strategy", [ENCRYPTED, MASKED])
def test_ranges_and_the_greatest_number_of_examples_are_in_the_plan(strategy: Strategy) -> None:
    """All agents must scale alike; the ranges of the next round are those that the last one found.

    An agent with more than the job's `max_examples` counts as if it had these.
    """
    harness = begin(strategy)
    introduce(harness, B, KEY, examples=40)
    plan = harness.open_round()
    assert (plan.ranges, plan.max_examples) == ((1, 1), 10)
    harness.receive(COLLECTOR, with_state(plan, STATE))
    plan = harness.open_round()
    assert (plan.ranges, plan.max_examples, plan.state) == ((3, -2), 25, STATE)
    assert harness.sent_to(COLLECTOR, OpenRound).strategy == strategy
    task = harness.asked(keys.TrainingRequest(JOB, A), TrainTask)
    assert (task.encryption, task.masking) == (strategy.encryption, strategy.masking)
    assert (task.ranges, task.max_examples) == (plan.ranges, plan.max_examples)


def test_other_jobs_have_neither() -> None:
    """Their updates are floats."""
    plan = begin(STRATEGY).open_round()
    assert (plan.ranges, plan.max_examples) == ((), 1)


@pytest.mark.parametrize(
    ("strategy", "examples", "expected"),
    [
        (STRATEGY, [7], 1),
        (ENCRYPTED, [7, 3], 7),
        (ENCRYPTED, [7, 30], 25),
        (ENCRYPTED, [0], 1),
        (replace(ENCRYPTED, privacy=terms()), [7], 1),
        (
            replace(ENCRYPTED, aggregator=PluginChoice(id="mean", parameters={"weighted": False})),
            [7],
            1,
        ),
    ],
)
def test_agents_count_alike_with_a_mechanism_or_an_unweighted_mean(
    strategy: Strategy, examples: list[int], expected: int
) -> None:
    """Then the weight of each is 1, whatever it has."""
    assert next_max_examples(strategy, examples) == expected


def test_the_first_ranges_are_the_jobs() -> None:
    """Also if a state has none yet."""
    assert next_ranges(FIXED_POINT, None, 3) == (1, 1, 1)
    assert next_ranges(FIXED_POINT, StrategyState(rounds=1), 3) == (1, 1, 1)


def test_agents_without_the_jobs_key_are_not_asked() -> None:
    """They could neither read the base nor encrypt; the job says how many, and why."""
    harness = begin(ENCRYPTED, COLLECTOR, A)
    introduce(harness, B, None)
    introduce(harness, C, OTHER_KEY)
    harness.wait(1.0)
    assert keys.PlanStorage(JOB) not in harness.asks
    assert harness.state_now().reason == (
        "waiting for agents: 3 are online, 3 wanted, 2 needed; 1 cannot: it has no encryption key, "
        "and the job's is 1a1a1a1a1a1a… (FEDBUS_ENCRYPTION_KEY); 1 cannot: it has the encryption "
        "key 2b2b2b2b2b2b…, and the job's is 1a1a1a1a1a1a…"
    )
    introduce(harness, B, KEY)
    harness.wait(6.0)
    assert sorted(harness.planned.cohort) == [A, B]


def test_a_collector_without_the_jobs_key_is_not_asked() -> None:
    """It could not add ciphertexts; the job says which collector has which key."""
    harness = begin(ENCRYPTED, A, B, C)
    assert harness.state().reason == "waiting for a collector"
    introduce(harness, COLLECTOR, None)
    introduce(harness, OTHER_COLLECTOR, OTHER_KEY)
    harness.wait(1.0)
    assert harness.state_now().reason == (
        "waiting for a collector with the encryption key 1a1a1a1a1a1a…: collector.1 has none, "
        "collector.2 has 2b2b2b2b2b2b…; give it the file of the public key (FEDBUS_ENCRYPTION_KEY)"
        " and start it again"
    )
    introduce(harness, COLLECTOR, KEY)
    harness.wait(1.0)
    assert harness.planned.collector == COLLECTOR


def test_a_lost_collector_is_replaced_by_one_with_the_key_only() -> None:
    """Another one could not go on."""
    harness = begin(ENCRYPTED)
    plan = harness.open_round()
    introduce(harness, OTHER_COLLECTOR, None)
    harness.silent.add(COLLECTOR)
    harness.wait(8.0)
    waiting = "waiting for collector.1, which is lost, or another collector"
    assert harness.state_now().reason == waiting
    introduce(harness, OTHER_COLLECTOR, KEY)
    harness.wait(8.0)
    assert (harness.planned.collector, harness.planned.task) == (OTHER_COLLECTOR, plan.task + 1)


def test_evaluators_of_encrypted_versions_have_the_key() -> None:
    """Another agent could not read them."""
    harness = begin(ENCRYPTED, COLLECTOR, A, B, C)
    introduce(harness, EVALUATOR, None)
    harness.receive(COLLECTOR, committed(harness.open_round()))
    assert keys.EvaluationRequest(JOB, EVALUATOR) not in harness.asks
    introduce(harness, EVALUATOR, KEY)
    harness.receive(COLLECTOR, committed(harness.open_round()))
    assert harness.asked(keys.EvaluationRequest(JOB, EVALUATOR), EvaluateTask).version.version == 3


def test_a_masked_round_needs_three_agents() -> None:
    """The sum of two tells each of them the update of the other, whatever the quorum is."""
    harness = begin(MASKED, COLLECTOR, A, B)
    harness.wait(20.0)
    said = "waiting for agents: 2 are online, 3 wanted, 3 needed"
    assert harness.state_now().reason == said
    introduce(harness, C, None)
    harness.wait(1.0)
    assert sorted(harness.planned.cohort) == [A, B, C]


def test_a_masked_round_is_planned_again_when_its_collector_restarts() -> None:
    """It has lost what agents answered, and they answer once; another node is asked again."""
    harness = begin(MASKED)
    plan = harness.open_round()
    harness.introduce(A, incarnation=2)
    assert harness.asked(keys.TrainingRequest(JOB, A), TrainTask).task == plan.task
    harness.introduce(COLLECTOR, incarnation=2)
    assert harness.planned.task == plan.task + 1
    assert keys.RoundOpening(JOB) not in harness.asks
    harness.open_round()
    assert harness.asked(keys.TrainingRequest(JOB, A), TrainTask).task == plan.task + 1


def test_a_restart_between_rounds_changes_nothing() -> None:
    """There is no round to plan again."""
    harness = begin(MASKED, COLLECTOR, A)
    harness.introduce(COLLECTOR, incarnation=2)
    assert keys.PlanStorage(JOB) not in harness.asks


def test_tasks_say_how_updates_are_made_smaller() -> None:
    """The smaller base is named only to agents of a job that downloads it."""
    steps = (PluginChoice(id="quantize", parameters={"bits": 8}),)
    bits = BlobRef(digest="f" * 64, size=9)
    thin = CompressedBlob(blob=BlobRef(digest="e" * 64, size=30), compression=steps)
    sending = replace(STRATEGY, compression=steps, measures_energy=True)
    base = replace(version(1), thin=thin)
    state = StrategyState(rounds=1, frozen=bits)
    harness = begin(sending, latest=base, state=state)
    harness.open_round()
    task = harness.asked(keys.TrainingRequest(JOB, A), TrainTask)
    assert (task.compression, task.frozen, task.base) == (steps, bits, version(1))
    assert task.measures_energy
    harness = begin(replace(STRATEGY, download=steps), latest=base)
    harness.open_round()
    assert harness.asked(keys.TrainingRequest(JOB, A), TrainTask).base == base


def test_adaptive_synchronization_sets_the_epochs() -> None:
    """Those of the job's file do not matter; the collector may claim no more steps than these."""
    harness = begin(replace(STRATEGY, sync=SyncFrequency(epochs=10)))
    plan = harness.open_round()
    assert harness.asked(keys.TrainingRequest(JOB, A), TrainTask).params.epochs == 10
    later = StrategyState(rounds=1, numbers={"sync_epochs": 5.0})
    harness.receive(COLLECTOR, with_state(plan, later))
    harness.open_round()
    assert harness.asked(keys.TrainingRequest(JOB, A), TrainTask).params.epochs == 5
    limit = harness.sent_to(COLLECTOR, OpenRound).step_limit
    assert limit is not None
    assert limit.epochs == 5


def test_the_document_of_a_job_says_how_its_updates_are_protected() -> None:
    """In words, for people; updates of other jobs can be read by the collector."""
    assert begin(STRATEGY).state_now().protection == ""
    said = "updates encrypted with bfv and key 1a1a1a1a1a1a, 11 bits a number"
    assert begin(ENCRYPTED).state_now().protection == said
    said = "updates masked among at most 20 neighbours with threshold 0.67, 11 bits a number"
    assert begin(MASKED).state_now().protection == said


def test_the_document_of_a_job_says_how_blobs_are_made_smaller() -> None:
    """In words, for people; without steps there are none."""
    assert begin(STRATEGY).state_now().steps == ""
    steps = (PluginChoice(id="quantize", parameters={"bits": 8}),)
    smaller = replace(STRATEGY, compression=steps, download=steps, sync=SyncFrequency(epochs=10))
    assert begin(smaller).state_now().steps == (
        "updates made smaller by quantize(bits=8), versions made smaller by quantize(bits=8), "
        "10 epochs between rounds, which shrink"
    )
