"""Masked job in the ring, the steps at which its processes are killed, and what must hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedbus.mqtt.bus import Packet
from fedbus.simulation.masked_records import check_masked_records
from fedbus.simulation.masked_sums import check_masked_sums
from fedbus.wire import codec
from fedbus.wire.messages import Offer, StepReply
from fedbus.wire.secure_aggregation import StepName
from tests.ring.ring_cluster import RingCluster

AGENTS, QUORUM = 5, 4
STEP_SECONDS = 4.0
MASKED = {"secure-aggregation": {"bits": 16, "step_seconds": STEP_SECONDS}}
ROUND_KEYS = {"agents": AGENTS, "quorum": QUORUM, "deadline_seconds": 20}
POINTS: Mapping[str, Mapping[str, int]] = {
    "agent": {
        "received:TrainTask": 2,
        "received:Step": 10,
        "run:StepAnswer": 10,
        "journal:save": 10,
        "journal:saved": 10,
        "ran:StepAnswer": 10,
        "send:StepReply": 10,
        "ran:TrainingWork": 4,
        "outbox:save": 2,
        "outbox:saved": 2,
        "send:Offer": 2,
        "received:Receipt": 2,
        "journal:remove": 2,
    },
    "collector": {
        "received:OpenRound": 2,
        "send:Step": 25,
        "received:StepReply": 25,
        "ran:FoldRun": 5,
        "run:AggregateRun": 2,
        "ran:AggregateRun": 2,
        "send:Commit": 2,
        "received:Committed": 2,
        "send:RoundEnded": 2,
    },
    "repository": {"received:Commit": 2, "ran:Commit": 2, "store:insert": 8},
    "controller": {"send:TrainTask": 6, "send:OpenRound": 2, "received:RoundEnded": 2},
}
"""Steps at which a process is killed, by role, each with the most times it may come before."""


@dataclass(slots=True)
class MaskedReleases:
    """What left the agents of a ring: their answers to steps, and the updates that they offered."""

    answers: dict[tuple[str, str, int, StepName], set[bytes]] = field(default_factory=dict)
    offers: dict[tuple[str, str, int], set[str]] = field(default_factory=dict)

    def record(self, sender: str, packet: Packet) -> None:
        """Record what an agent publishes."""
        level = packet.topic.rpartition("/")[2]
        if level == "step_reply":
            reply = codec.unpack(StepReply, packet.payload)
            if not reply.reason:
                step = sender, reply.job, reply.task, reply.step
                self.answers.setdefault(step, set()).add(reply.content)
        elif level == "offer":
            offer = codec.unpack(Offer, packet.payload)
            name = sender, offer.job, offer.task
            self.offers.setdefault(name, set()).add(offer.update.digest)
            assert not offer.metrics
            assert offer.facts.steps is None
            assert offer.facts.base_loss is None

    def check(self) -> None:
        """Check that no step was answered in two ways, and no task has two masked updates."""
        twice = [step for step, answers in self.answers.items() if len(answers) > 1]
        assert not twice, f"answered in two ways: {twice}"
        twice_masked = [task for task, digests in self.offers.items() if len(digests) > 1]
        assert not twice_masked, f"two masked updates of a task: {twice_masked}"


def masked_cluster(folder: Path, seed: int, **more: Any) -> tuple[RingCluster, MaskedReleases]:  # noqa: ANN401 - of RingCluster
    """Start a cluster of agents that mask their updates, and record what leaves them."""
    given = {"agents": AGENTS, "evaluators": 0, "numbers": 200, **more}
    cluster = RingCluster(folder, seed=seed, masked=True, **given)
    releases = MaskedReleases()
    cluster.ring.on_publish = releases.record
    return cluster, releases


def run_masked(
    cluster: RingCluster,
    rounds: int = 2,
    privacy: Mapping[str, Any] = MASKED,
    wish: Mapping[str, Any] = ROUND_KEYS,
    **more: Any,  # noqa: ANN401 - of a job file
) -> None:
    """Run one masked job until it has ended."""
    keys: dict[str, Any] = {"privacy-mechanisms": privacy, **more}
    cluster.submit(rounds=rounds, wish=wish, **keys)
    cluster.run(seconds=cluster.ring.now + 1200)


def check_masked(cluster: RingCluster, releases: MaskedReleases, job: str = "job-1") -> None:
    """Check that a job finished, that each version is that of its contributors, and what left."""
    state = cluster.states[job][-1]
    assert state.phase == "finished", f"{state.reason} {cluster.answers}"
    assert cluster.ring.broker.violations == []
    releases.check()
    with cluster.store() as store:
        masked = cluster.records.masked_of(job)
        checked = check_masked_records(store, masked, job=job)
        assert (checked.rounds, checked.summed) == (state.round, state.round)
        check_masked_sums(store, masked, job=job)
