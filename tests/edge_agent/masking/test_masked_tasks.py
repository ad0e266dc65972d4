"""Masked tasks of an agent: steps answered, repeated and refused; one masked update, once."""

from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from fedbus.core.actions import Action, Announce, Follow, Send, Unfollow
from fedbus.core.events import Event, Ran, RunFailed
from fedbus.errors import StoreError
from fedbus.model.blob_header import Blob
from fedbus.secure_aggregation.accepted_terms import SAFE_TERMS, AcceptedTerms
from fedbus.secure_aggregation.masked_round import MaskedRound
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import NodeIdentity
from fedbus.wire.messages import Decline, Offer, Receipt, Step, StepReply, StopJob, TrainTask
from fedbus_edge_agent import keys
from fedbus_edge_agent.masking.masked_tasks import IDENTITY_SECONDS, MaskedTasks
from fedbus_edge_agent.masking.own_identity import OwnIdentity
from fedbus_edge_agent.masking.step_journal import StepJournals
from fedbus_edge_agent.masking.unmasked_update import UnmaskedUpdate, unmasked_update
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.private_offer import TrainingReport
from fedbus_edge_agent.training.task_runner import NO_STRATEGY_BLOBS, Model, StrategyBlobs
from tests.edge_agent.harness import (
    COLLECTOR,
    CONTROLLER,
    JOB,
    LAYOUT,
    OTHER_COLLECTOR,
    AgentHarness,
    FakeTaskRunner,
    train,
    update_of,
)
from tests.masked_peer import MAX_EXAMPLES, TERMS, MaskedPeer, identity_of, public_identity

AGENT, PEERS = "agent.me", ("agent.a", "agent.b")
COHORT = (*PEERS, AGENT)
TASK = MaskedTask(job=JOB, round=1, task=1)
WANTED = train(masking=TERMS, ranges=(0,), max_examples=MAX_EXAMPLES)
DROP = Receipt(job=JOB, task=1, verdict="drop")


@dataclass
class MaskingRunner(FakeTaskRunner):
    """Also trains for masked tasks."""

    def train_to_mask(
        self,
        task: TrainTask,
        model: Model,
        base: Blob,
        control: TaskControl,
        _strategy: StrategyBlobs = NO_STRATEGY_BLOBS,
    ) -> UnmaskedUpdate:
        self._begin("train", task.task, base, control)
        report = TrainingReport(10)
        delta = update_of(task.task)
        return unmasked_update(task, model.layout, delta, report, bound=None, own=None)


class MaskedAgent(AgentHarness):
    """An agent in a round of three, whose collector and other agents a test plays."""

    def __init__(
        self,
        folder: Path,
        pinned: dict[str, str] | None = None,
        accepted: AcceptedTerms = SAFE_TERMS,
    ) -> None:
        outbox, self.answers = Outbox(folder), list[StepReply]()
        (folder / "identity.key").write_bytes(identity_of(AGENT).private)
        (folder / "identity.key").chmod(0o600)
        own = OwnIdentity.keep(AGENT, folder)
        journals = StepJournals(folder / "masking")
        masked = MaskedTasks(own, journals, outbox, pinned, Random(1).randbytes, accepted=accepted)
        super().__init__(folder, outbox=outbox, masked=masked, runner=MaskingRunner(outbox))

    def step(self, round_: "PlayedRound") -> StepReply:
        """Send what the collector asks, let identities arrive, and return the answer."""
        self.receive(COLLECTOR, round_.step_for_agent())
        for peer in PEERS:
            self.receive(peer, NodeIdentity(node=peer, key=public_identity(peer)))
        self.answers.clear()
        self.run_calls()
        (reply,) = self.answers
        return reply

    def handle(self, event: Event) -> list[Action]:
        """Keep the answers, since an update may be masked at once after one."""
        actions = super().handle(event)
        sent = (each.message for each in actions if isinstance(each, Send))
        self.answers += [each for each in sent if isinstance(each, StepReply)]
        return actions

    def journals(self) -> list[str]:
        """Return the names of the journals."""
        return sorted(path.name for path in (self.folder / "masking").glob("*"))


class PlayedRound:
    """The collector's part, and the other agents'."""

    def __init__(self, task: MaskedTask = TASK) -> None:
        self.round = MaskedRound(TERMS, task, COHORT)
        self.peers = {name: MaskedPeer(name, JOB) for name in PEERS}

    def step_for_agent(self) -> Step:
        """Return the step that the agent under test is asked."""
        step, content = self.round.requests()[AGENT]
        return Step(job=JOB, round=1, task=1, step=step, content=content)

    def advance(self, reply: StepReply) -> None:
        """Take the agent's answer and those of the others, and go on."""
        assert reply.reason == ""
        assert self.round.reply(AGENT, reply.step, reply.content) == ""
        for name, peer in self.peers.items():
            step, content = self.round.requests()[name]
            answer = peer.reply(Step(job=JOB, round=1, task=1, step=step, content=content))
            assert self.round.reply(name, step, answer.content) == ""
            if step == "mask":
                peer.masked({"w": np.ones(4, np.float32)}, LAYOUT, (0,), 5)
                self.round.update_taken(name, "0" * 64)
        if reply.step != "mask":
            self.round.advance()

    def offered(self, offer: Offer) -> None:
        """Take the agent's update, and end the step `mask`."""
        assert self.round.update_taken(AGENT, offer.update.digest) == ""
        self.round.advance()


def begin(folder: Path) -> tuple[MaskedAgent, PlayedRound]:
    """Start an agent, and a round that it is asked to train for."""
    agent = MaskedAgent(folder)
    agent.receive(CONTROLLER, WANTED)
    return agent, PlayedRound()


def to_offer(agent: MaskedAgent, round_: PlayedRound) -> Offer:
    """Answer the steps before the updates, train, and return the offer."""
    for _ in range(3):
        round_.advance(agent.step(round_))
    agent.deliver_inputs()
    agent.run_calls()
    return agent.offered()


def test_an_agent_announces_its_identity_whenever_it_connects(tmp_path: Path) -> None:
    """The public half alone."""
    agent = MaskedAgent(tmp_path)
    found = [each.message for each in agent.last if isinstance(each, Announce)]
    assert found == [NodeIdentity(node=AGENT, key=public_identity(AGENT))]


def test_an_agent_answers_all_steps_of_a_round(tmp_path: Path) -> None:
    """Its update counts, and afterwards nothing of the task is on its disk."""
    agent, round_ = begin(tmp_path)
    offer = to_offer(agent, round_)
    assert (offer.examples, offer.metrics, offer.ranges) == (10, {}, (0,))
    assert agent.journals() == [f"{JOB}~1.steps"]
    round_.offered(offer)
    for _ in range(2):
        round_.advance(agent.step(round_))
    assert round_.round.done
    agent.receive(COLLECTOR, Receipt(job=JOB, task=1, verdict="stored"))
    agent.run_calls()
    assert agent.journals() == []
    assert agent.receive(COLLECTOR, replace(round_step("survivors"), content=b"x")) != []
    assert agent.sent_to(COLLECTOR, StepReply).reason.startswith("this agent has no keys")


def round_step(step: Any, **changes: Any) -> Step:  # noqa: ANN401 - a step's name, any field
    """Return a step without a content."""
    return replace(Step(job=JOB, round=1, task=1, step=step, content=b""), **changes)


def test_the_unmasked_update_waits_in_memory(tmp_path: Path) -> None:
    """No file has it while the masks are not agreed on."""
    agent, round_ = begin(tmp_path)
    agent.deliver_inputs()
    agent.run_calls()
    assert agent.runner.done
    assert not list(tmp_path.glob("*.update"))
    offer = to_offer(agent, round_)
    (path,) = tmp_path.glob("*.update")
    assert update_of(1)[-16:] not in path.read_bytes()
    assert offer.update.size < path.stat().st_size


def test_a_step_before_its_task_is_left_alone(tmp_path: Path) -> None:
    """The collector asks again; later steps than the first tell that the keys are gone."""
    agent, round_ = MaskedAgent(tmp_path), PlayedRound()
    assert agent.receive(COLLECTOR, round_.step_for_agent()) == []
    agent.receive(COLLECTOR, round_step("mask"))
    assert "no keys for the task" in agent.sent_to(COLLECTOR, StepReply).reason
    agent.receive(CONTROLLER, WANTED)
    assert agent.step(round_).reason == ""


def test_steps_of_another_collector_or_round_are_left_alone(tmp_path: Path) -> None:
    """And a step that arrives while another one is answered."""
    agent, round_ = begin(tmp_path)
    step = round_.step_for_agent()
    assert agent.receive(OTHER_COLLECTOR, step) == []
    assert agent.receive(COLLECTOR, replace(step, round=2)) == []
    assert len(agent.receive(COLLECTOR, step)) == 1
    assert agent.receive(COLLECTOR, step) == []
    agent.run_calls()
    assert agent.sent_to(COLLECTOR, StepReply).content


def test_identities_are_followed_until_they_are_known(tmp_path: Path) -> None:
    """Again if the step is repeated, since what is retained may be lost."""
    agent, round_ = begin(tmp_path)
    round_.advance(agent.step(round_))
    shares = round_.step_for_agent()
    followed = [
        each.levels["node"] for each in agent.receive(COLLECTOR, shares) if isinstance(each, Follow)
    ]
    assert followed == [*PEERS]
    assert [type(each) for each in agent.receive(COLLECTOR, shares)] == [Follow, Follow]
    assert agent.receive("agent.z", NodeIdentity(node="agent.z", key="0" * 64)) == []
    for peer in PEERS:
        actions = agent.receive(peer, NodeIdentity(node=peer, key=public_identity(peer)))
        assert isinstance(actions[0], Unfollow)
    agent.run_calls()
    assert agent.sent_to(COLLECTOR, StepReply).content


def test_pinned_identities_are_not_followed(tmp_path: Path) -> None:
    """They win over whatever is announced."""
    agent = MaskedAgent(tmp_path, {peer: public_identity(peer) for peer in PEERS})
    agent.receive(CONTROLLER, WANTED)
    round_ = PlayedRound()
    round_.advance(agent.step(round_))
    assert not any(
        isinstance(each, Follow) for each in agent.receive(COLLECTOR, round_.step_for_agent())
    )


@pytest.mark.parametrize(
    ("accepted", "reason"),
    [
        (
            AcceptedTerms(threshold=0.8),
            (
                "the job's threshold is 0.67, and this agent accepts 0.8 or more "
                "(FEDBUS_MASKING_LEAST_THRESHOLD)"
            ),
        ),
        (
            AcceptedTerms(neighbours=8),
            (
                "the job's neighbours are 7, and this agent accepts 8 or more "
                "(FEDBUS_MASKING_LEAST_NEIGHBOURS)"
            ),
        ),
    ],
)
def test_weak_terms_are_declined(tmp_path: Path, accepted: AcceptedTerms, reason: str) -> None:
    """Before anything is fetched, with the setting."""
    agent = MaskedAgent(tmp_path, accepted=accepted)
    agent.receive(CONTROLLER, WANTED)
    assert agent.asked(keys.TaskReply(JOB, 1), Decline).reason == reason
    assert agent.journals() == []


def test_a_small_cohort_is_refused_in_the_first_step(tmp_path: Path) -> None:
    """The task does not say how many agents are asked."""
    agent = MaskedAgent(tmp_path, accepted=AcceptedTerms(agents=4))
    agent.receive(CONTROLLER, WANTED)
    assert agent.step(PlayedRound()).reason == (
        "a sum of this cohort may have 3 agents, and this agent accepts 4 or more "
        "(FEDBUS_MASKING_LEAST_AGENTS)"
    )


def test_an_agent_without_an_identity_is_refused_by_name(tmp_path: Path) -> None:
    """After a while, so that the collector can go on."""
    agent, round_ = begin(tmp_path)
    round_.advance(agent.step(round_))
    agent.receive(COLLECTOR, round_.step_for_agent())
    agent.receive(PEERS[0], NodeIdentity(node=PEERS[0], key=public_identity(PEERS[0])))
    agent.wait(IDENTITY_SECONDS)
    agent.run_calls()
    reason = agent.sent_to(COLLECTOR, StepReply).reason
    assert reason == "the identity of agent.b is not known: it has announced none"
    assert agent.noted("step_refused")[0]["reason"] == reason


@pytest.mark.parametrize("answered", range(6))
def test_a_restarted_agent_repeats_its_answers(answered: int, tmp_path: Path) -> None:
    """With the same bytes, whenever it was killed; its masked update is the same one, too."""
    agent, round_ = begin(tmp_path)
    offer, step, reply = None, None, None
    for number in range(answered):
        if number == 3:
            agent.deliver_inputs()
            agent.run_calls()
            offer = agent.offered()
            round_.offered(offer)
        if number < 5:
            step = round_.step_for_agent()
            reply = agent.step(round_)
            round_.advance(reply)
    again = MaskedAgent(tmp_path)
    if step is not None:
        again.receive(COLLECTOR, step)
        again.run_calls()
        assert again.sent_to(COLLECTOR, StepReply) == reply
    if offer is not None:
        assert again.offered() == replace(offer, inline=None)
    again.receive(CONTROLLER, WANTED)
    if answered < 3:
        assert to_offer_after(again, round_, 3 - answered).update.digest


def to_offer_after(agent: MaskedAgent, round_: PlayedRound, steps: int) -> Offer:
    """Answer these steps, train, and return the offer."""
    for _ in range(steps):
        round_.advance(agent.step(round_))
    agent.deliver_inputs()
    agent.run_calls()
    return agent.offered()


def test_an_update_is_masked_once(tmp_path: Path) -> None:
    """If it is gone, so is the agent's part in the round: another one would have the same masks."""
    agent, round_ = begin(tmp_path)
    to_offer(agent, round_)
    (tmp_path / f"{JOB}~1.update").unlink()
    again = MaskedAgent(tmp_path)
    again.receive(CONTROLLER, WANTED)
    decline = again.asked(keys.TaskReply(JOB, 1), Decline)
    assert "has masked an update of the task, and does not have it any more" in decline.reason


def test_a_kill_between_the_update_and_its_journal_changes_nothing(tmp_path: Path) -> None:
    """The journal from before is completed by what is in the outbox."""
    agent, round_ = begin(tmp_path)
    for _ in range(3):
        round_.advance(agent.step(round_))
    before = (tmp_path / "masking" / f"{JOB}~1.steps").read_bytes()
    agent.deliver_inputs()
    agent.run_calls()
    round_.offered(agent.offered())
    (tmp_path / "masking" / f"{JOB}~1.steps").write_bytes(before)
    again = MaskedAgent(tmp_path)
    assert again.step(round_).reason == ""


def test_a_newer_task_and_a_stop_end_a_task(tmp_path: Path) -> None:
    """Journals are removed, timers and follows ended."""
    agent, round_ = begin(tmp_path)
    round_.advance(agent.step(round_))
    agent.receive(COLLECTOR, round_.step_for_agent())
    newer = replace(WANTED, task=2)
    actions = agent.receive(CONTROLLER, newer)
    assert [each.levels["node"] for each in actions if isinstance(each, Unfollow)] == [*PEERS]
    assert keys.IdentityWait(JOB, 1) not in agent.timers
    agent.run_calls()
    assert agent.journals() == []
    agent.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    agent.run_calls()
    assert agent.journals() == []


def test_an_answer_after_the_end_of_its_task_leaves_no_journal(tmp_path: Path) -> None:
    """The thread may write it after it was removed."""
    agent, round_ = begin(tmp_path)
    agent.receive(COLLECTOR, round_.step_for_agent())
    answering = agent.runs.pop()
    agent.receive(COLLECTOR, DROP)
    agent.run_calls()
    agent.runs.append(answering)
    agent.run_calls()
    assert agent.journals() == []
    assert not [each for each in agent.last if isinstance(each, StepReply)]


def test_a_full_disk_answers_nothing(tmp_path: Path) -> None:
    """What is not in the journal must not leave; a later repetition of the step is answered."""
    agent, round_ = begin(tmp_path)
    agent.receive(COLLECTOR, round_.step_for_agent())
    key = agent.runs.pop().key
    agent.handle(RunFailed(key, StoreError("no space left")))
    assert agent.sent(StepReply) == []
    assert agent.noted("step_unanswered")[0]["reason"] == "no space left"
    assert agent.step(round_).content


def test_damaged_journals_are_as_if_they_were_gone(tmp_path: Path) -> None:
    """The agent leaves the round, with a reason."""
    agent, round_ = begin(tmp_path)
    round_.advance(agent.step(round_))
    path = tmp_path / "masking" / f"{JOB}~1.steps"
    path.write_bytes(path.read_bytes()[:-1])
    again = MaskedAgent(tmp_path)
    assert again.journals() == []
    again.receive(COLLECTOR, round_.step_for_agent())
    assert "no keys for the task" in again.sent_to(COLLECTOR, StepReply).reason


def test_agents_that_cannot_mask_decline(tmp_path: Path) -> None:
    """Without the package, or with trainers that only store their updates."""
    agent = AgentHarness(tmp_path / "a")
    agent.receive(CONTROLLER, WANTED)
    reason = agent.asked(keys.TaskReply(JOB, 1), Decline).reason
    assert reason == "this agent cannot mask updates: install fedbus[secure-aggregation]"
    other = MaskedAgent(tmp_path / "b")
    other.core._scheduler.runner = FakeTaskRunner(other.outbox)  # type: ignore[attr-defined]  # noqa: SLF001
    other.receive(CONTROLLER, WANTED)
    other.deliver_inputs()
    reason = other.asked(keys.TaskReply(JOB, 1), Decline).reason
    assert reason == "this agent's trainers take no part in masked rounds"


def test_an_agent_without_the_memory_for_whole_numbers_declines(tmp_path: Path) -> None:
    """They take more than the training of the same model."""
    agent = MaskedAgent(tmp_path)
    base = replace(WANTED.base, weights=BlobRef(digest="0" * 64, size=40 * 2**20))
    agent.receive(CONTROLLER, replace(WANTED, base=base, masking=None, task=1))
    assert keys.TaskReply(JOB, 1) not in agent.asks
    agent.receive(CONTROLLER, replace(WANTED, base=base, task=2))
    assert "memory" in agent.asked(keys.TaskReply(JOB, 2), Decline).reason


def test_an_update_whose_journal_cannot_be_written_does_not_leave(tmp_path: Path) -> None:
    """It is removed, and the task declined: a restart would not know that it was masked."""
    agent, round_ = begin(tmp_path)
    for _ in range(3):
        round_.advance(agent.step(round_))
    agent.deliver_inputs()
    training = agent.runs.pop(0)
    agent.handle(Ran(training.key, training.call()))
    (tmp_path / "masking").rename(tmp_path / "gone")
    (tmp_path / "masking").write_bytes(b"")
    agent.run_calls()
    assert "journal of a masked task" in agent.asked(keys.TaskReply(JOB, 1), Decline).reason
    assert not list(tmp_path.glob("*.update"))


def test_a_step_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Nothing is followed for it, and the next step is answered as if it had not come."""
    agent, round_ = begin(tmp_path)
    agent.receive(COLLECTOR, round_step("keys", content=b"\xc1"))
    agent.run_calls()
    assert agent.sent_to(COLLECTOR, StepReply).reason
    assert agent.step(round_).reason == ""
