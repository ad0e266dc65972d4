"""Record of what a private job's nodes let out in the ring, and its comparison with the ledger.

Each aggregate that a collector offers for a commit counts as released, whether or not it arrives,
since the repository, or a reader of its disk, could have it.
"""

from collections import defaultdict
from contextlib import closing
from functools import partial

from fedbus.mqtt.bus import Packet
from fedbus.privacy.ledger_entries import is_entered_with_plan
from fedbus.privacy.update_set import digest_of_update_set
from fedbus.runtime.identity import Identity
from fedbus.simulation.services import REPOSITORY
from fedbus.wire import codec, topics
from fedbus.wire.documents import JobState, ModelLatest, RoundState
from fedbus.wire.messages import Commit, ModelShown, Offer, PrivacyShown, ShowModel, ShowPrivacy
from fedbus.wire.privacy import PrivacySpent, PrivacyTerms, public_spent
from fedbus.wire.round_records import RoundRecord
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.store_history import SqliteHistory
from tests.ring.ring_cluster import MODEL, RingCluster

READER = "user.reader"
ANSWER_SECONDS = 120.0
Shown = ModelShown | PrivacyShown


class PrivateReleases:
    """What left the nodes of a cluster, from the time at which this is made.

    Attributes:
        cluster: The cluster.
        combined: The digest of the updates of each offered aggregate, by (job, task).
        unpaid: What left a node before the ledger had its entry: must stay empty.
        public: The packets that users can read, but for announcements of nodes.
    """

    def __init__(self, cluster: RingCluster) -> None:
        self.combined: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.unpaid: list[str] = []
        self.public: list[Packet] = []
        self.cluster = cluster
        self._terms: dict[str, PrivacyTerms | None] = {}
        cluster.ring.on_publish = self.record

    def record(self, host: str, packet: Packet) -> None:
        """Record what a node publishes."""
        match packet.topic.removeprefix(f"{topics.ROOT}/").split("/"):
            case ["link", _, _, "commit"]:
                self._offered(host, codec.unpack(Commit, packet.payload).record)
            case ["link", _, _, "offer"]:
                self._sent(host, codec.unpack(Offer, packet.payload))
            case ["link", _, to, _] if to.startswith("user."):
                self.public.append(packet)
            case ["jobs" | "models" | "replies", *_]:
                self.public.append(packet)

    def _offered(self, host: str, record: RoundRecord) -> None:
        """Compare an aggregate with the ledger as it is on the disk now."""
        updates = digest_of_update_set(record.contributors)
        self.combined[record.job, record.task].add(updates)
        stored = self._stored(record.job)
        if (record.task, updates) not in stored and (record.task, None) not in stored:
            self.unpaid.append(f"{host}: task {record.task} of job {record.job}")

    def _sent(self, agent: str, offer: Offer) -> None:
        """Compare an update that its agent protects by itself with the ledger."""
        if not self._is_entered_with_plan(offer.job):
            return
        with closing(SqliteHistory(self.cluster.folder / "repository")) as history:
            ledger = history.ledger(offer.job)
        paid = {(each.entry.task, name) for each in ledger for name in each.entry.agents}
        if (offer.task, agent) not in paid:
            self.unpaid.append(f"{agent}: task {offer.task} of job {offer.job}")

    def _is_entered_with_plan(self, job: str) -> bool:
        if job not in self._terms:
            with closing(SqliteHistory(self.cluster.folder / "repository")) as history:
                stored = history.job(job)
            assert stored is not None
            self._terms[job] = stored.terms
        terms = self._terms[job]
        return terms is not None and is_entered_with_plan(terms)

    def _stored(self, job: str) -> set[tuple[int, str | None]]:
        with closing(SqliteHistory(self.cluster.folder / "repository")) as history:
            return {(each.entry.task, each.entry.updates) for each in history.ledger(job)}

    def shown(self, *versions: int) -> list[Shown]:
        """Return what the repository shows a user about the model, and about these versions."""
        ring, found = self.cluster.ring, list[Shown]()
        identity = Identity(name=READER, incarnation=1, heartbeat_seconds=1.0)
        records = [ShowModel(model=MODEL, version=each, record=True) for each in versions]
        asked: list[ShowModel | ShowPrivacy] = [ShowPrivacy(model=MODEL), *records]

        def heard(packet: Packet) -> None:
            if packet.topic.endswith("/privacy_shown"):
                found.append(codec.unpack(PrivacyShown, packet.payload))
            else:
                found.append(codec.unpack(ModelShown, packet.payload))

        def ask(request: ShowModel | ShowPrivacy, before: int) -> None:
            if len(found) == before:
                ring.publish(READER, identity.packet_to(REPOSITORY, request))
                ring.at(ring.now + 2.0, lambda: ask(request, before))

        ring.listen(READER, [f"{topics.ROOT}/link/+/{READER}/#"], heard)
        for number, request in enumerate(asked):
            ask(request, number)
            ring.run(partial(_has, found, number + 1), ANSWER_SECONDS)
        return found[: len(asked)]


def _has(found: list[Shown], wanted: int) -> bool:
    return len(found) >= wanted


def check_releases(releases: PrivateReleases, store: SqliteStore, job: str) -> None:
    """Check that all that left is in the ledger, and each task has one set of updates."""
    assert releases.unpaid == []
    for (of, task), updates in releases.combined.items():
        assert len(updates) == 1, f"task {task} of job {of}: two aggregates of other updates"
    tasks = {task for of, task in releases.combined if of == job}
    assert tasks <= {each.entry.task for each in store.ledger(job)}


def check_public(
    releases: PrivateReleases, shown: list[Shown], store: SqliteStore, job: str
) -> None:
    """Check what users can read: the ledger's ε, and no agent."""
    names = [name.encode() for name in releases.cluster.agents]
    for packet in releases.public:
        found = [name for name in names if name in packet.payload]
        assert not found, f"{packet.topic} names {found[0]!r}: {packet.payload!r}"
    ledger = store.ledger(job)
    stated = [public_spent(each.spent) for each in ledger]
    by_version = {
        each.version.version: public_spent(each.record.privacy)
        for each in store.history()
        if each.record is not None and each.record.job == job
    }
    for state in releases.cluster.states[job]:
        assert state.privacy is None or state.privacy in stated
    assert releases.cluster.states[job][-1].privacy == (stated or [None])[-1]
    for packet in releases.public:
        _check_document(packet, by_version)
    for each in shown:
        if isinstance(each, PrivacyShown):
            (found_job,) = each.jobs
            assert found_job.spent == (stated or [None])[-1]
            assert found_job.failed == len(ledger) - found_job.rounds
            continue
        for facts in each.history:
            assert facts.privacy == by_version.get(facts.version)
            assert facts.contributors == 0 or facts.job is None
        record = each.record
        if record is not None:
            assert (record.contributors, record.refusals, dict(record.metrics)) == ((), (), {})


def _check_document(packet: Packet, spent: dict[int, PrivacySpent | None]) -> None:
    if not packet.payload:
        return
    if "/rounds/" in packet.topic:
        state = codec.from_json(RoundState, packet.payload)
        assert state.privacy == spent[state.version]
        assert (state.contributors, state.refusals, state.examples) == ((), {}, 0)
    elif packet.topic.endswith("/latest"):
        latest = codec.from_json(ModelLatest, packet.payload)
        assert latest.privacy == spent.get(latest.version)
    elif packet.topic.endswith("/state"):
        job = codec.from_json(JobState, packet.payload)
        assert not job.agents or job.privacy is None or job.privacy.sampling == "any"
