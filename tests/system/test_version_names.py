"""Tags, aliases and lineage: the Python client and the command at a real repository and broker."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import fedbus
from fedbus.cli.main import app
from fedbus.client import Client, Refused
from fedbus.errors import SettingsError
from fedbus.model.blob import decode
from fedbus.mqtt.mosquitto import LocalBroker
from fedbus.wire import codec
from fedbus.wire.documents import ModelAliases
from fedbus.wire.topics import MODEL_ALIASES
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.harness import LAYOUT, MODEL, begin, commit_next, weights

pytestmark = pytest.mark.system
LONG = 60.0
ACCOUNTS = {"repository.1": "r", "user.me": "u"}


class Deployment:
    """A broker, and a repository whose model has versions 1 to 5."""

    def __init__(self, folder: Path, broker: LocalBroker) -> None:
        self.data, self.broker = folder / "data", broker
        store = SqliteStore(self.data)
        begin(store)
        for value in range(1, 5):
            commit_next(store, float(value))
        store.close()
        self.process = self.start()

    @property
    def url(self) -> str:
        """The address of a user."""
        return self.broker.address("user.me").url

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the repository."""
        return subprocess.Popen(
            [sys.executable, "-m", "fedbus_repository"],
            env=environ(self.broker.address("repository.1").url) | {"FEDBUS_DATA": str(self.data)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def command(self, *words: str, code: int = 0) -> str:
        """Run `fedbus models`; return what it prints."""
        done = CliRunner().invoke(app, ["models", *words], env={"FEDBUS_BROKER": self.url})
        assert done.exit_code == code, done.output
        return done.stderr if code else done.stdout


def environ(broker: str) -> dict[str, str]:
    """The environment of a process at a broker."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FEDBUS_")}
    return kept | {"FEDBUS_BROKER": broker}


@pytest.fixture
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A broker with access rules and a repository, for one test: names count their changes."""
    folder = tmp_path_factory.mktemp("named")
    with LocalBroker(folder / "broker", accounts=ACCOUNTS) as broker:
        here = Deployment(folder, broker)
        try:
            yield here
        finally:
            here.process.terminate()
            here.process.wait(LONG)


async def retained(fed: Client, least: int) -> ModelAliases:
    """The document that foreign clients read, once it has this number of changes."""
    topic = fed.login.topic(MODEL_ALIASES, model=MODEL)
    async with asyncio.timeout(LONG):
        while True:
            for packet in await fed.connection.retained(topic):
                found = codec.from_json(ModelAliases, packet.payload)
                if found.changes >= least:
                    return found
            await asyncio.sleep(0.05)


async def test_names_are_changed_followed_and_pulled(deployment: Deployment) -> None:
    """Each method, and the document that the broker retains."""
    async with fedbus.connect(deployment.url) as fed, asyncio.timeout(LONG):
        tagged = await fed.tag(f"{MODEL}@3", "paper", note="figure 2")
        moved = await fed.promote(f"{MODEL}@2", "staging")
        again = await fed.promote(f"{MODEL}@paper", "staging", expected=2)
        with pytest.raises(Refused, match="names version 3 now, not version 2"):
            await fed.promote(f"{MODEL}@5", "staging", expected=2)
        back = await fed.roll_back(MODEL, "staging", note="errors")
        with pytest.raises(Refused, match="has named no version before 2"):
            await fed.roll_back(MODEL, "staging")
        pulled = await fed.pull(f"{MODEL}@staging")
        shown = await fed.model(f"{MODEL}@paper", limit=2)
        [listed] = await fed.models()
        changes = await fed.name_changes(MODEL, "staging")
        named = await retained(fed, 4)
        with pytest.raises(Refused, match="no alias or tag 'prod'; aliases: staging; tags: paper"):
            await fed.pull(f"{MODEL}@prod")
        with pytest.raises(Refused, match="no alias 'prod'; aliases: staging"):
            await fed.roll_back(MODEL, "prod")
        gone = await fed.remove_alias(MODEL, "staging")
        await fed.untag(MODEL, "paper")
        assert (await retained(fed, 6)).aliases == {}
    assert (tagged.version, tagged.tags) == (3, {"paper": 3})
    assert moved.version is not None
    assert (moved.version.version, moved.before) == (2, None)
    assert again.version is not None
    assert (again.version.version, again.before) == (3, 2)
    assert back.version == moved.version
    assert (pulled.version, shown.ref.version) == (2, 3)
    assert np.array_equal(pulled.weights["bias"], decode(weights(1.0), LAYOUT)["bias"])
    assert [each.version for each in shown.versions] == [3, 2]
    assert (shown.shown.aliases, shown.shown.tags) == ({"staging": 2}, {"paper": 3})
    assert (listed.aliases, listed.tags) == ({"staging": 2}, {"paper": 3})
    assert [(each.kind, each.version, each.by, each.note) for each in changes] == [
        ("roll-back", 2, "user.me", "errors"),
        ("promotion", 3, "user.me", ""),
        ("promotion", 2, "user.me", ""),
    ]
    assert {name: ref.version for name, ref in named.aliases.items()} == {"staging": 2}
    assert gone.version is None


async def test_lineage_is_read_in_pages(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it, however many requests that takes."""
    monkeypatch.setattr("fedbus.client.model_names.MAX_PAGE_VERSIONS", 2)
    async with fedbus.connect(deployment.url) as fed, asyncio.timeout(LONG):
        ancestors = await fed.ancestors(MODEL, limit=None)
        nearest = await fed.ancestors(f"{MODEL}@4", limit=1)
        descendants = await fed.descendants(f"{MODEL}@1")
        leaves = await fed.leaves(MODEL)
    assert [each.version for each in ancestors] == [4, 3, 2, 1]
    assert [each.version for each in nearest] == [3]
    assert [each.version for each in descendants] == [2, 3, 4, 5]
    assert [(each.version, each.base) for each in leaves] == [(5, 4)]


async def test_what_cannot_be_a_name_is_refused_before_it_is_sent(deployment: Deployment) -> None:
    """The sentence says which part is wrong."""
    async with fedbus.connect(deployment.url) as fed:
        for name in ("3", "latest", "a/b"):
            with pytest.raises(SettingsError, match=r"means a version already|is no name"):
                await fed.tag(MODEL, name)
        with pytest.raises(SettingsError, match="they count from 1"):
            await fed.promote(f"{MODEL}@0", "production")
        with pytest.raises(SettingsError, match="a version is given twice"):
            await fed.pull(f"{MODEL}@2", 3)


def test_the_command_does_the_same(deployment: Deployment, tmp_path: Path) -> None:
    """Each in one line, and as JSON."""
    run = deployment.command
    promoted = f"production of {MODEL} names version 2\n"
    assert run("promote", f"{MODEL}@2", "--to", "production", "--if", "0") == promoted
    assert "a rollback returns to version 2" in run(
        "promote", f"{MODEL}@4", "--to", "production", "--note", "better"
    )
    assert "names version 4 now, not version 9" in run(
        "rollback", MODEL, "--alias", "production", "--if", "9", code=4
    )
    assert run("rollback", MODEL, "--alias", "production") == promoted
    assert run("tag", f"{MODEL}@production", "talk") == f"{MODEL} version 2 has the tags: talk\n"
    shown = run("show", f"{MODEL}@talk").splitlines()
    assert shown[0].endswith("\tNAMES")
    assert [line.split("\t")[-1] for line in shown if line.startswith("2\t")] == [
        "production, talk"
    ]
    for title, named in (("aliases  ", "production 2"), ("tags     ", "talk 2")):
        assert any(line.startswith(title) and named in line for line in shown)
    plain = json.loads(run("show", MODEL, "--json"))
    assert (plain["aliases"]["production"], plain["tags"]["talk"]) == (2, 2)
    listed = run("list").splitlines()
    assert [line.split("\t")[-2:] for line in listed] == [
        ["ALIASES", "TAGS"],
        ["production 2", "talk 2"],
    ]
    [model] = json.loads(run("list", "--json"))
    assert (model["aliases"], model["tags"]) == ({"production": 2}, {"talk": 2})
    path = tmp_path / "w.npz"
    assert "version 2" in run("pull", f"{MODEL}@production", "-o", str(path))
    history = [line.split("\t")[:4] for line in run("names", MODEL, "production").splitlines()]
    assert history[-3:] == [
        ["production", "promotion", "2", ""],
        ["production", "promotion", "4", "2"],
        ["production", "roll-back", "2", "4"],
    ]
    changes = json.loads(run("names", MODEL, "--limit", "2", "--json"))
    assert [each["kind"] for each in changes] == ["tag", "roll-back"]
    lineage = run("lineage", f"{MODEL}@production", "--descendants").splitlines()
    assert [line.split("\t")[0] for line in lineage] == ["VERSION", "3", "4", "5"]
    leaves = json.loads(run("lineage", MODEL, "--leaves", "--json"))
    assert [each["version"] for each in leaves] == [5]
    assert run("lineage", f"{MODEL}@1").strip() == f"{MODEL}@1 has no ancestors"
    assert "leave one out" in run("lineage", MODEL, "--leaves", "--descendants", code=2)
    assert "has no tag talk any more" in run("untag", MODEL, "talk")
    assert "has no alias production any more" in run("remove-alias", MODEL, "production")
    assert "has no tag 'nope'; tags: none" in run("untag", MODEL, "nope", code=4)


async def test_a_promotion_outlives_a_kill(deployment: Deployment) -> None:
    """What was answered is there after kill -9; a request waits for the repository."""
    async with fedbus.connect(deployment.url, answer_seconds=LONG) as fed:
        for number in (1, 2, 3):
            await fed.promote(f"{MODEL}@{number}", "killed")
            deployment.process.send_signal(signal.SIGKILL)
            deployment.process.wait(LONG)
            asked = asyncio.create_task(fed.name_changes(MODEL, "killed"))
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asked), 0.3)
            deployment.process = deployment.start()
            changes = await asked
            assert changes[0].version == number
        assert [each.version for each in changes] == [3, 2, 1]
        named = await retained(fed, changes[0].number)
    assert named.aliases["killed"].version == 3
