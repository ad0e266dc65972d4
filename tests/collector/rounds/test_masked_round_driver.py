"""Masked rounds at a collector: who is asked, who is waited for, and what the sum becomes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedbus.core.actions import Follow, Unfollow
from fedbus.model.blob import decode
from fedbus.model.fixed_point import Wholes, from_fixed_point
from fedbus.training.params import PluginChoice
from fedbus.wire import topics
from fedbus.wire.documents import NodeIdentity
from fedbus.wire.messages import Decline, Dismiss, Step, StepReply, StopJob
from fedbus.wire.secure_aggregation import STEPS, StepName
from fedbus.wire.strategies import Strategy
from fedbus_collector import keys
from fedbus_collector.rounds.agent_identities import AgentIdentities
from fedbus_collector.rounds.progress import RoundPhase
from tests.collector.harness import (
    BASE,
    CONTROLLER,
    JOB,
    LAYOUT,
    A,
    B,
    C,
    Harness,
    arrays,
    mean,
    offer,
    order,
)
from tests.masked_peer import MAX_EXAMPLES, TERMS, MaskedPeer, public_identity

D = "agent.d"
COHORT = (A, B, C, D)
RANGES = (0, 1)
MASKED = replace(mean(), masking=TERMS)
EXAMPLES = {A: 5, B: 10, C: 15, D: 20}


class MaskedHarness(Harness):
    """A collector, and agents that answer when a test says so."""

    def __init__(
        self,
        cohort: tuple[str, ...] = COHORT,
        strategy: Strategy = MASKED,
        announced: tuple[str, ...] = COHORT,
    ) -> None:
        super().__init__()
        self.peers = {agent: MaskedPeer(agent, JOB) for agent in cohort}
        self.numbers: dict[str, Wholes] = {}
        self.open(
            order(
                strategy=strategy,
                cohort=cohort,
                quorum=3,
                ranges=RANGES,
                max_examples=MAX_EXAMPLES,
            )
        )
        for agent in announced:
            self.announce(agent, public_identity(agent))

    def announce(self, agent: str, key: str) -> None:
        """Have an agent announce its identity."""
        self.receive(agent, NodeIdentity(node=agent, key=key))

    def asked_agents(self) -> dict[str, StepName]:
        """Return which step is asked of which agent."""
        return {
            key.agent: ask.message.step
            for key, ask in self.asks.items()
            if isinstance(key, keys.StepRequest)
        }

    def answer(self, *agents: str) -> None:
        """Have agents answer what they are asked."""
        asked = {
            agent: self.asked(keys.StepRequest(JOB, 1, agent), Step)
            for agent in agents or tuple(self.asked_agents())
        }
        for agent, step in asked.items():
            self.receive(agent, self.peers[agent].reply(step))
            self.run_calls()

    def to_mask(self) -> None:
        """Have all agents answer the steps before the updates."""
        for _ in range(3):
            self.answer()

    def offer_masked(self, agent: str, **changes: Any) -> None:  # noqa: ANN401 - of an offer
        """Have an agent offer its masked update."""
        value, examples = 0.1 * (1 + COHORT.index(agent)), EXAMPLES[agent]
        blob, self.numbers[agent] = self.peers[agent].masked(
            arrays(value), LAYOUT, RANGES, examples
        )
        made = offer(blob, examples, inline=blob, metrics={}, ranges=(-1, 1))
        self.receive(agent, replace(made, **changes))
        self.run_calls()

    def offer_all(self) -> None:
        """Have all agents offer."""
        for agent in self.peers:
            self.offer_masked(agent)

    @property
    def phase(self) -> RoundPhase:
        """The phase of the open round."""
        open_round = self.core._open[JOB]  # type: ignore[attr-defined]  # noqa: SLF001 - not told to others
        phase: RoundPhase = open_round.progress.phase
        return phase

    def check_version(self, *agents: str) -> None:
        """Check that the version is the base plus the mean of what these agents masked."""
        total = np.sum([self.numbers[agent] for agent in agents], axis=0, dtype=np.uint64)
        weights = sum(EXAMPLES[agent] for agent in agents) / MAX_EXAMPLES
        means = from_fixed_point(total, LAYOUT, RANGES, 16, len(agents), weights)
        base = decode(BASE, LAYOUT, "plain")
        made = decode(self.out(self.commit), LAYOUT, "plain")
        for name, array in made.items():
            assert np.allclose(array, base[name] + means[name], rtol=1e-6, atol=0)
        assert [one.agent for one in self.commit.record.contributors] == sorted(agents)


def test_a_round_is_the_mean_of_what_its_agents_masked() -> None:
    """The five steps one after another; then the record, which has no figure of one agent."""
    round_ = MaskedHarness()
    for step in STEPS[:3]:
        assert round_.asked_agents() == dict.fromkeys(COHORT, step)
        round_.answer()
    assert round_.asked_agents() == {}
    round_.offer_all()
    assert round_.phase == "agreeing"
    assert round_.asked_agents() == dict.fromkeys(COHORT, "survivors")
    round_.answer()
    assert round_.phase == "unmasking"
    round_.answer()
    round_.check_version(*COHORT)
    record = round_.commit.record
    assert record.state is not None
    assert record.state.ranges == (-1, 1)
    assert record.metrics == {}
    shares = [one.coefficient for one in record.contributors]
    assert shares == [pytest.approx(EXAMPLES[agent] / 50) for agent in COHORT]
    round_.confirm()
    assert {receipt.verdict for receipt in round_.receipts().values()} == {"stored"}


def test_an_agent_that_does_not_answer_is_not_waited_for() -> None:
    """In the first steps it leaves the round, with a reason in the record."""
    round_ = MaskedHarness()
    round_.answer(A, B, C)
    assert round_.asked_agents() == {D: "keys"}
    round_.wait(TERMS.step_seconds)
    assert round_.asked_agents() == dict.fromkeys((A, B, C), "shares")
    round_.answer()
    round_.answer()
    for agent in (A, B, C):
        round_.offer_masked(agent)
    round_.answer()
    round_.answer()
    round_.check_version(A, B, C)
    (refusal,) = round_.commit.record.refusals
    assert (refusal.agent, refusal.reason) == (D, "no answer to step keys in 5 s")


def test_an_agent_that_drops_out_after_the_masks_has_them_removed() -> None:
    """At the deadline its update is missing, and the others reveal what removes its masks."""
    round_ = MaskedHarness()
    round_.to_mask()
    for agent in (A, B, C):
        round_.offer_masked(agent)
    assert round_.asked_agents() == {}
    round_.wait(10)
    assert round_.asked_agents() == dict.fromkeys((A, B, C), "survivors")
    round_.answer()
    round_.answer()
    round_.check_version(A, B, C)


def test_the_reason_of_an_agent_that_leaves_is_kept() -> None:
    """It cannot answer: it was restarted without its journal, say."""
    round_ = MaskedHarness()
    reply = StepReply(job=JOB, round=1, task=1, step="keys", reason="the journal is gone")
    round_.receive(D, replace(reply, round=2))
    assert D in round_.asked_agents()
    round_.receive(D, reply)
    assert D not in round_.asked_agents()
    assert round_.noted("update_refused")[0]["reason"] == "the journal is gone"


def test_an_answer_that_cannot_be_read_is_refused_by_name() -> None:
    """And the round goes on."""
    round_ = MaskedHarness()
    round_.receive(D, StepReply(job=JOB, round=1, task=1, step="keys", content=b"\xc1"))
    round_.answer(A, B, C)
    assert round_.asked_agents() == dict.fromkeys((A, B, C), "shares")
    assert D in round_.noted("update_refused")[0]["reason"]


def test_an_agent_with_a_wrong_signature_leaves_by_name() -> None:
    """Its neighbours, who would refuse to go on, never see its keys."""
    round_ = MaskedHarness(announced=(A, B, C))
    round_.announce(D, public_identity(A))
    round_.answer()
    refused = round_.noted("update_refused")[0]
    assert refused["agent"] == D
    assert refused["reason"] == (
        f"{D} has not signed its keys with the identity key that it announced (step keys)"
    )
    round_.answer()
    round_.answer()
    for agent in (A, B, C):
        round_.offer_masked(agent)
    round_.answer()
    round_.answer()
    round_.check_version(A, B, C)


def test_a_wrong_signature_of_the_survivors_does_not_count() -> None:
    """The update stays in the sum, and the others go on."""
    round_ = MaskedHarness()
    round_.to_mask()
    round_.offer_all()
    step = round_.asked(keys.StepRequest(JOB, 1, D), Step)
    reply = round_.peers[D].reply(step)
    round_.receive(D, replace(reply, content=reply.content[:-1] + b"\x00"))
    round_.answer(A, B, C)
    assert round_.asked_agents() == dict.fromkeys((A, B, C), "unmask")
    round_.answer()
    round_.check_version(*COHORT)


def test_keys_wait_for_the_identity_of_their_agent() -> None:
    """It is followed until it is known; a second one in the same name does not count."""
    round_ = MaskedHarness(announced=(A, B, C))
    round_.answer()
    round_.answer(D)
    assert round_.asked_agents() == {D: "keys"}
    round_.announce("agent.z", public_identity("agent.z"))
    assert round_.asked_agents() == {D: "keys"}
    round_.announce(D, public_identity(D))
    assert round_.asked_agents() == dict.fromkeys(COHORT, "shares")
    round_.announce(D, public_identity(A))
    round_.answer()
    round_.answer()
    round_.offer_all()
    round_.answer()
    round_.answer()
    round_.check_version(*COHORT)


def test_an_identity_that_was_lost_is_followed_again() -> None:
    """The broker sends what it retains once for each subscription, and may lose it."""
    round_ = MaskedHarness(announced=(A, B, C))
    reply = round_.peers[D].reply(round_.asked(keys.StepRequest(JOB, 1, D), Step))
    follow = Follow(topics.NODE_IDENTITY, {"node": D})
    assert round_.receive(D, reply) == [follow]
    assert round_.receive(D, reply) == [follow]
    known = round_.receive(D, NodeIdentity(node=D, key=public_identity(D)))
    assert Unfollow(topics.NODE_IDENTITY, {"node": D}) in known


def test_an_agent_without_an_identity_leaves_by_name() -> None:
    """So does one that says nothing, with a reason of its own."""
    round_ = MaskedHarness(announced=(A, B))
    round_.answer(A, B, D)
    round_.wait(TERMS.step_seconds)
    reasons = {each["agent"]: each["reason"] for each in round_.noted("update_refused")}
    assert reasons[C] == "no answer to step keys in 5 s"
    assert reasons[D] == "it has announced no identity key in 5 s, so its keys are not signed"


def test_a_round_follows_identities_that_it_does_not_know() -> None:
    """Each until it is announced, or the round has ended; of later rounds they are known."""
    identities = AgentIdentities()
    follow = Follow(topics.NODE_IDENTITY, {"node": A})
    assert [*identities.follow(A), *identities.follow(A)] == [follow, follow]
    assert list(identities.unfollow(A)) == []
    assert list(identities.unfollow(A)) == [Unfollow(topics.NODE_IDENTITY, {"node": A})]
    round_ = MaskedHarness(announced=())
    known = round_.receive(A, NodeIdentity(node=A, key=public_identity(A)))
    assert known == [Unfollow(topics.NODE_IDENTITY, {"node": A})]
    stopped = round_.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    gone = [each.levels["node"] for each in stopped if isinstance(each, Unfollow)]
    assert gone == [B, C, D]


def test_the_oldest_identities_are_forgotten() -> None:
    """A collector that runs for years keeps no more than it needs."""
    identities = AgentIdentities(most=2)
    for agent in (A, B, C):
        identities.announce(agent, public_identity(agent))
    assert identities.of(A) is None
    assert identities.of(C) == public_identity(C)


def test_repeated_and_late_answers_change_nothing() -> None:
    """Nor do those of other agents, and of other jobs."""
    round_ = MaskedHarness()
    first = round_.peers[A].reply(round_.asked(keys.StepRequest(JOB, 1, A), Step))
    round_.receive(A, first)
    assert round_.receive(A, first) == []
    assert round_.receive("agent.z", first) == []
    assert round_.receive(A, replace(first, job="job-9")) == []
    plain = Harness()
    plain.open()
    assert plain.receive(A, first) == []


def test_an_update_waits_until_its_agent_agrees_to_the_masks() -> None:
    """It may have been masked for an earlier process of this collector."""
    round_ = MaskedHarness()
    round_.answer()
    round_.answer()
    mask = {
        agent: round_.peers[agent].reply(round_.asked(keys.StepRequest(JOB, 1, agent), Step))
        for agent in COHORT
    }
    round_.offer_masked(A)
    assert round_.phase is RoundPhase.COLLECTING
    assert round_.runs == []
    for agent in COHORT:
        round_.receive(agent, mask[agent])
        round_.run_calls()
    for agent in (B, C, D):
        round_.offer_masked(agent)
    round_.answer()
    round_.answer()
    round_.check_version(*COHORT)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"examples": 6}, "a masked update with weight 20, expected 6"),
        ({"examples": 21}, "claims 21 examples; 20 count in this round"),
        ({"ranges": (1,)}, "states 1 ranges; the plan has 2"),
    ],
)
def test_an_update_that_is_not_what_its_offer_says_is_out_of_the_sum(
    changes: dict[str, Any], reason: str
) -> None:
    """Its agent is told so, and the others remove its masks."""
    round_ = MaskedHarness()
    round_.to_mask()
    round_.offer_masked(D, **changes)
    assert round_.noted("update_refused")[0]["reason"] == reason
    for agent in (A, B, C):
        round_.offer_masked(agent)
    round_.answer()
    round_.answer()
    round_.check_version(A, B, C)


def test_a_survivor_that_does_not_sign_stays_in_the_sum() -> None:
    """After a while the others go on; so they do if it does not unmask."""
    round_ = MaskedHarness()
    round_.to_mask()
    round_.offer_all()
    round_.answer(A, B, C)
    assert round_.asked_agents() == {D: "survivors"}
    round_.wait(TERMS.step_seconds)
    assert round_.asked_agents() == dict.fromkeys((A, B, C), "unmask")
    round_.answer()
    round_.check_version(*COHORT)


def test_a_lost_agent_is_not_waited_for_in_the_closing_stages() -> None:
    """The controller dismisses it, and its update counts."""
    round_ = MaskedHarness()
    round_.to_mask()
    round_.offer_all()
    round_.answer(A, B, C)
    dismiss = Dismiss(epoch=1, job=JOB, task=1, agents=(D,), reason="lost: no heartbeat")
    round_.receive(CONTROLLER, dismiss)
    assert round_.asked_agents() == dict.fromkeys((A, B, C), "unmask")
    round_.receive(C, Decline(job=JOB, round=1, task=1, reason="it is over"))
    assert round_.asked_agents() == dict.fromkeys((A, B), "unmask")


def test_too_few_signatures_fail_the_round() -> None:
    """Nothing is unmasked, and the controller plans again."""
    round_ = MaskedHarness()
    round_.to_mask()
    round_.offer_all()
    round_.answer(A, B)
    round_.wait(TERMS.step_seconds)
    assert round_.ended.version is None
    assert round_.ended.reason.endswith("have signed the survivors, and 3 are needed")
    assert round_.asked_agents() == {}
    assert keys.StepDeadline(JOB, 1) not in round_.timers
    assert round_.spools.used == len(BASE)  # the base stays, for the next plan


def test_too_few_shares_fail_the_round() -> None:
    """The worker thread that joins them says so."""
    round_ = MaskedHarness()
    round_.to_mask()
    round_.offer_all()
    round_.answer()
    round_.answer(A, B)
    round_.wait(TERMS.step_seconds)
    round_.run_calls()
    assert round_.ended.version is None
    assert "2 of the 3 shares that are needed" in round_.ended.reason


def test_a_round_without_enough_agents_fails_when_that_is_known() -> None:
    """By its quorum, which is not below the threshold, before the masks' own rule."""
    round_ = MaskedHarness()
    round_.answer(A, B)
    round_.wait(TERMS.step_seconds)
    assert round_.ended.reason == (
        "0 of 4 updates, 3 are needed; 2 left out: no answer to step keys in 5 s; 2 not waited for"
    )


def test_two_agents_have_no_masked_round() -> None:
    """Each would know the other's update."""
    round_ = MaskedHarness((A, B))
    assert round_.ended.reason.startswith("2 agents are in the cohort, and 3 are needed")


@pytest.mark.parametrize("answered", range(5))
def test_a_job_is_stopped_in_each_step(answered: int) -> None:
    """No agent is asked any more, and no memory is kept."""
    round_ = MaskedHarness()
    for step in STEPS[:answered]:
        round_.answer()
        if step == "mask":
            round_.offer_all()
    assert set(round_.asked_agents().values()) == {STEPS[answered]}
    round_.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    assert round_.asked_agents() == {}
    assert keys.StepDeadline(JOB, 1) not in round_.timers
    assert round_.spools.used <= len(BASE)


def test_masked_updates_have_a_mean_only() -> None:
    """No other rule can be computed from their sum."""
    median = replace(MASKED, aggregator=PluginChoice(id="median", parameters={}))
    round_ = MaskedHarness(strategy=median)
    assert "masked updates have a mean only" in round_.ended.reason
