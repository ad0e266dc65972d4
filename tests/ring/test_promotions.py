"""Promotions and roll-backs while messages are lost and the repository is killed."""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from fedbus.client.failures import Unreachable
from fedbus.client.repository import RepositoryQuery
from fedbus.mqtt.bus import Packet
from fedbus.simulation.host import RunningService
from fedbus.simulation.network_faults import ROUGH_LINKS
from fedbus.simulation.services import REPOSITORY
from fedbus.wire import codec, topics
from fedbus.wire.documents import ModelAliases
from fedbus.wire.messages import (
    AliasMoved,
    ListNameChanges,
    PromoteVersion,
    RollBackAlias,
    TagVersion,
    VersionTagged,
)
from fedbus_repository.stores.trail_answers import NameChangePage, NamedVersions
from tests.ring.ring_cluster import MODEL, RingCluster, fault_rng
from tests.ring.storm import kill_at_step

ANA, READER = "user.ana", "user.reader"
Request = PromoteVersion | RollBackAlias | TagVersion


class NamedRing:
    """A cluster with a model of six versions, and each document of its names that was published."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.cluster = RingCluster(folder, seed=seed, agents=2, evaluators=0, faults=ROUGH_LINKS)
        self.rng = fault_rng(seed)
        self.heard: list[ModelAliases] = []
        self.ring = self.cluster.ring
        self.ring.listen(READER, [f"{topics.ROOT}/models/+/aliases"], self._hear)
        self.cluster.submit(rounds=5, wish={"deadline_seconds": 20})
        assert self.cluster.run().phase == "finished"

    def _hear(self, packet: Packet) -> None:
        """What is published is in the store by then."""
        document = codec.from_json(ModelAliases, packet.payload)
        path = self.cluster.folder / "repository" / "repository.db"
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            (stored,) = db.execute("SELECT MAX(number) FROM name_changes").fetchone()
        assert stored >= document.changes
        self.heard.append(document)

    def ask(self, request: Request) -> AliasMoved | VersionTagged:
        """Ask until an answer arrives; the repository may be killed at any step meanwhile."""
        if self.rng.random() < 0.7:
            back = self.rng.uniform(0.1, 20.0)
            kill_at_step(self.cluster, REPOSITORY, self.rng.randint(1, 6), back)
        answer = VersionTagged if isinstance(request, TagVersion) else AliasMoved
        while True:
            query: RepositoryQuery[AliasMoved | VersionTagged] = RepositoryQuery(
                REPOSITORY, request, answer
            )
            results: list[object] = []
            query.finish = results.append
            self.ring.add(ANA, lambda _, core=query: RunningService(core))  # type: ignore[misc]  # its default
            self.ring.run(lambda found=results: bool(found), 120.0)  # type: ignore[misc]  # its default
            self.ring.kill(ANA)
            [result] = results
            if not isinstance(result, Unreachable):
                assert isinstance(result, AliasMoved | VersionTagged), result
                return result
            if self.ring.hosts[REPOSITORY].node is None:
                self.ring.start(REPOSITORY)

    def wait(self, seconds: float) -> None:
        """Advance the simulated time."""
        until = self.ring.now + seconds
        self.ring.at(until, lambda: None)
        self.ring.run(lambda: self.ring.now >= until, seconds + 1)


def requests_of(rng: Random) -> list[tuple[Request, int | None]]:
    """Draw promotions, roll-backs and tags, and the version that each leaves its name at."""
    made: list[tuple[Request, int | None]] = []
    stack: list[int] = []
    for _ in range(10):
        kind = rng.choice(["promote", "promote", "back", "tag"])
        if kind == "back" and len(stack) > 1:
            taken = stack.pop()
            request: Request = RollBackAlias(model=MODEL, alias="production", expected=taken)
            made.append((request, stack[-1]))
        elif kind == "tag":
            version = rng.choice([None, 1, 2, 3]) if made else 1
            made.append((TagVersion(model=MODEL, version=version, tag="paper"), version))
        else:
            version = rng.choice([each for each in range(1, 7) if each not in stack[-1:]])
            expected = stack[-1] if stack else 0
            stack.append(version)
            made.append(
                (
                    PromoteVersion(
                        model=MODEL, alias="production", version=version, expected=expected
                    ),
                    version,
                )
            )
    return made


@pytest.mark.parametrize("seed", range(6))
def test_no_fault_shows_a_name_that_is_not_stored(tmp_path: Path, seed: int) -> None:
    """Each request changes a name once, whatever was lost; the last document is the truth."""
    named = NamedRing(tmp_path, seed)
    for request, expected in [
        (TagVersion(model=MODEL, version=1, tag="paper"), 1),
        *requests_of(Random(f"names {seed}")),
    ]:
        answer = named.ask(request)
        if isinstance(answer, AliasMoved):
            assert answer.version is not None
            assert answer.version.version == expected
        else:
            assert answer.version == expected
    if named.ring.hosts[REPOSITORY].node is None:
        named.ring.start(REPOSITORY)
    assert named.ring.hosts[REPOSITORY].starts > 3
    named.wait(130.0)  # for two announcements, one of which may be lost
    with named.cluster.store() as store:
        page = store.name_changes(ListNameChanges(model=MODEL, limit=1_000))
        assert isinstance(page, NameChangePage)
        [stored] = store.named_versions().values()
        assert isinstance(stored, NamedVersions)
    changes = page.changes[::-1]
    assert [each.number for each in changes] == list(range(1, len(changes) + 1))
    assert all(each.version != each.replaced for each in changes)  # none was stored twice
    for document in named.heard:
        past = changes[: document.changes]
        now = {each.name: each for each in past}
        tags = {name: each.version for name, each in now.items() if each.kind == "tag"}
        aliases = {
            name: each.version for name, each in now.items() if each.kind not in {"tag", "untag"}
        }
        assert {name: ref.version for name, ref in document.aliases.items()} == aliases
        assert document.tags == tags
    last = named.heard[-1]
    assert last.changes == len(changes)
    assert {name: ref.version for name, ref in last.aliases.items()} == stored.names.aliases
    named.cluster.close()
