"""Replicas on one broker: whole nodes with their transfers, in one process, on a fake clock."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fedbus.core.actions import Action, Announce, Serve, WakeAt
from fedbus.core.events import Connected, Event, Requested, Woke
from fedbus.mqtt.bus import Packet
from fedbus.simulation.host import RunningService
from fedbus.simulation.network_faults import ROUGH_LINKS, NetworkFaults
from fedbus.simulation.ring import Ring
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.documents import AgentFacts, ModelLatest
from fedbus.wire.topics import MODEL_LATEST, REPLIES, Topic
from fedbus_inference.core import InferenceCore
from fedbus_inference.loading import Runtime
from tests.inference.harness import Bytes, load_sums, spec, weights
from tests.sample_key import SampleKey

LOG_EVERY_SECONDS = 0.05


class Idle:
    """A core that neither trains nor works."""

    listens: tuple[Topic, ...] = ()

    def facts(self) -> AgentFacts | None:
        return None

    def progress(self) -> float:
        return 0.0


class Repository(Idle):
    """Makes a version every so often, up to the last; then repeats that."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.version = 0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        if not isinstance(event, Connected | Woke):
            return
        if isinstance(event, Woke):
            self.version = min(self.version + 1, self.last)
        for version in range(self.version + 1):
            yield Serve(blob_ref_of(weights(version)).digest, Bytes(weights(version)))
        yield Serve(blob_ref_of(spec()).digest, Bytes(spec()))
        blob = blob_ref_of(weights(self.version))
        latest = ModelLatest(
            model="sum",
            version=self.version,
            digest=blob.digest,
            size=blob.size,
            spec=blob_ref_of(spec()),
            source="repository.1",
            metrics={},
            parent=None,
            job=None,
            round=self.version,
        )
        yield Announce(MODEL_LATEST, latest)
        yield WakeAt(SampleKey("next"), now + LOG_EVERY_SECONDS)


class Caller(Idle):
    """Keeps the answers that come."""

    listens = (REPLIES,)

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        if isinstance(event, Requested) and now >= 0:
            self.answers.append(json.loads(event.payload))
        yield from ()


class Cluster:
    """A repository, some replicas, and a client."""

    def __init__(
        self, replicas: int = 2, last: int = 10, seed: int = 0, *, faults: NetworkFaults
    ) -> None:
        self.ring = Ring(seed, faults=faults)
        self.cores: dict[str, InferenceCore] = {}
        self.caller = Caller()
        self.last = last
        self.ring.add("repository.1", lambda _: RunningService(Repository(last)))
        self.ring.add("user.caller", lambda _: RunningService(self.caller))
        self.replicas = [f"inference.{number}" for number in range(1, replicas + 1)]
        for name in self.replicas:
            self.ring.add(name, lambda identity: RunningService(self.factory(identity.name)))
        self.asked = 0

    def factory(self, name: str) -> InferenceCore:
        self.cores[name] = InferenceCore(Runtime(("sums",), load_sums))
        return self.cores[name]

    def ask(self) -> None:
        """Ask for the sum of 0, 0 and the number of this request."""
        self.asked += 1
        payload = json.dumps({"inputs": [0, 0, self.asked]}).encode()
        topic = "fedbus/v1/inference/sum/request"
        self.ring.publish(
            "user.caller", Packet(topic, payload, response_topic="fedbus/v1/replies/caller")
        )

    def ask_every(self, seconds: float, times: int) -> None:
        for turn in range(times):
            self.ring.at(self.ring.now + turn * seconds, self.ask)

    def serve(self, name: str, version: int) -> bool:
        return self.cores[name].versions.get("sum", -1) >= version

    def ready(self) -> bool:
        """Whether every replica has a version, if not the newest."""
        return all(self.serve(name, 0) for name in self.replicas)

    def newest(self) -> bool:
        """Whether every replica has the newest version."""
        return all(self.serve(name, self.last) for name in self.replicas)


CALM = NetworkFaults()


def test_replicas_share_the_requests_and_each_is_answered_once() -> None:
    """While ten versions take over from one another, no request is refused, lost or doubled."""
    cluster = Cluster(faults=CALM)
    cluster.ring.run(cluster.ready)
    cluster.ask_every(0.002, 300)
    cluster.ring.run(lambda: cluster.newest() and len(cluster.caller.answers) >= 300)
    cluster.ring.run(lambda: cluster.ring.now > 10)
    answers = cluster.caller.answers
    assert sorted(a["outputs"][0][0] - a["version"] for a in answers) == list(range(1, 301))
    assert len({a["version"] for a in answers}) > 2
    assert not cluster.ring.broker.violations
    assert not cluster.ring.misread
    assert all(core.counts["requests_answered"] > 50 for core in cluster.cores.values())


def test_a_replica_that_dies_leaves_the_others_to_answer() -> None:
    """And one that comes back takes its share again, once it has a model."""
    cluster = Cluster(faults=CALM)
    cluster.ring.run(cluster.newest)
    cluster.ring.kill("inference.1")
    cluster.ask_every(0.01, 20)
    cluster.ring.run(lambda: len(cluster.caller.answers) == 20)
    cluster.ring.start("inference.1")
    cluster.ring.run(cluster.newest)
    cluster.ask_every(0.01, 20)
    cluster.ring.run(lambda: len(cluster.caller.answers) == 40)
    assert cluster.cores["inference.1"].counts["requests_answered"] > 0


def test_a_replica_that_starts_keeps_the_requests_it_is_handed() -> None:
    """It knows its models before it hears requests, and holds those until the first is loaded."""
    cluster = Cluster(replicas=0, faults=CALM)
    cluster.ring.run(lambda: cluster.ring.now > 1)
    cluster.ring.add("inference.1", lambda identity: RunningService(cluster.factory(identity.name)))
    node = cluster.ring.hosts["inference.1"]
    cluster.ring.run(lambda: node.connected)
    cluster.ask()
    cluster.ring.run(lambda: len(cluster.caller.answers) == 1)
    assert cluster.caller.answers[0]["outputs"] == [[11]]


def test_a_repository_that_dies_is_no_matter_for_callers() -> None:
    """The held version answers on; when the repository is back, its news are taken."""
    cluster = Cluster(last=3, faults=CALM)
    cluster.ring.run(cluster.newest)
    cluster.ring.kill("repository.1")
    cluster.ask_every(0.01, 20)
    cluster.ring.run(lambda: len(cluster.caller.answers) == 20)
    cluster.last = 5
    cluster.ring.hosts["repository.1"].factory = lambda _: RunningService(Repository(5))
    cluster.ring.start("repository.1")
    cluster.ring.run(cluster.newest)
    versions = {answer["version"] for answer in cluster.caller.answers}
    assert versions == {3}


@pytest.mark.parametrize("seed", range(20))
def test_on_bad_links_and_over_restarts_every_replica_gets_the_newest(seed: int) -> None:
    """Loss, duplication, reordering, a broker and a repository that die: it takes longer."""
    cluster = Cluster(seed=seed, faults=ROUGH_LINKS)
    ring = cluster.ring
    ring.at(ring.rng.uniform(0, 1), ring.restart_broker)
    ring.at(ring.rng.uniform(0, 1), lambda: ring.kill("repository.1"))
    ring.at(1.5, lambda: ring.start("repository.1"))
    ring.run(cluster.newest, seconds=300)
    cluster.ask_every(1.0, 20)
    ring.run(lambda: any(answer.get("version") == 10 for answer in cluster.caller.answers))
