"""The client at a real broker, with one node's worth of services where it needs them."""

import asyncio
import inspect
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

import fedbus
from fedbus.client import (
    Awaiting,
    Client,
    JobRefused,
    JobState,
    Refused,
    SyncClient,
    Unreachable,
)
from fedbus.client.job_reports import JobNews
from fedbus.errors import BusError, SettingsError
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Bus, Packet
from fedbus.mqtt.mosquitto import LocalBroker, free_port
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.documents import ModelLatest
from fedbus.wire.messages import ModelsListed
from fedbus.wire.topics import ROOT as TOPICS
from tests.fedbus.cli.output.spent_privacy import job, shown, spent
from tests.page_commands import ROOT

ACCOUNTS = {"controller.1": "c", "inference.1": "i", "repository.1": "r", "user.me": "u"}
LONG = 20.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    """A broker with access rules."""
    with LocalBroker(tmp_path / "broker", accounts=ACCOUNTS) as broker:
        yield broker


def url(broker: LocalBroker) -> str:
    """The address that a person writes."""
    return broker.address("user.me").url


def state(job: str, phase: str = "running", round: int = 0) -> Packet:
    """A job's retained state."""
    said = {"job": job, "model": "m", "phase": phase, "round": round, "num_rounds": 2}
    whole = codec.from_json(JobState, json.dumps({**said, "metrics": {}, "reason": ""}).encode())
    return Packet(f"{TOPICS}/jobs/{job}/state", codec.to_json(whole), retain=True)


@asynccontextmanager
async def service(
    broker: LocalBroker, node: str, topic: str, answer: Callable[[Packet], bytes]
) -> AsyncIterator[Bus]:
    """Answer requests on a topic, as a service of that name does."""
    listen = [f"{TOPICS}/{topic}"]

    async def serve(bus: Bus) -> None:
        async for packet in bus:
            assert packet.response_topic is not None
            await bus.publish(
                Packet(packet.response_topic, answer(packet), correlation=packet.correlation)
            )

    async with mqtt.connect(broker.address(node), name=node, listen=listen) as bus:
        serving = asyncio.create_task(serve(bus))
        try:
            yield bus
        finally:
            serving.cancel()
            await asyncio.wait({serving})


async def test_an_unreachable_broker_is_an_error_on_entry() -> None:
    """And names the address, without the password."""
    port = free_port()
    with pytest.raises(BusError, match=f"127.0.0.1:{port}") as failed:
        async with fedbus.connect(f"mqtt://user.me:secret@127.0.0.1:{port}"):
            pass
    assert "secret" not in str(failed.value)


async def test_a_wrong_password_is_refused_on_entry(broker: LocalBroker) -> None:
    """Not with the first method."""
    with pytest.raises(BusError, match=r"user\.me"):
        async with fedbus.connect(f"mqtt://user.me:wrong@127.0.0.1:{broker.port}"):
            pass


@pytest.mark.parametrize("given", ["http://h", "mqtt://", "mqtt://agent.a:x@h"])
async def test_a_url_that_leads_nowhere_is_refused(given: str) -> None:
    """Before anything is connected to; an agent's account is no person's."""
    with pytest.raises(SettingsError):
        async with fedbus.connect(given):
            pass


async def test_a_url_and_a_cluster_are_one_too_many(tmp_path: Path) -> None:
    """One of them would be ignored."""
    with pytest.raises(SettingsError, match="got both"):
        async with fedbus.connect("mqtt://h", cluster=tmp_path):
            pass
    with pytest.raises(Unreachable, match="no cluster runs in"):
        async with fedbus.connect(cluster=tmp_path):
            pass


async def test_errors_of_the_block_are_not_renamed(broker: LocalBroker) -> None:
    """A task group around it would wrap them."""
    with pytest.raises(ZeroDivisionError):
        async with fedbus.connect(url(broker)):
            raise ZeroDivisionError


async def test_many_requests_at_once_get_each_its_own_answer(broker: LocalBroker) -> None:
    """They share one response topic; the correlation data tell them apart."""

    def answer(packet: Packet) -> bytes:
        rows = json.loads(packet.payload)["inputs"]
        return json.dumps({"model": "m", "version": 3, "outputs": rows}).encode()

    async def asked(fed: Client, number: int) -> object:
        payload = json.dumps({"inputs": [[number]]}).encode()
        return (await fed.infer_encoded("m", payload, "application/json"))["outputs"]

    async with (
        service(broker, "inference.1", "inference/m/request", answer),
        fedbus.connect(url(broker)) as fed,
    ):
        answers = await asyncio.gather(*(asked(fed, number) for number in range(50)))
    assert answers == [[[number]] for number in range(50)]


async def test_two_clients_of_one_account_live_in_one_loop(broker: LocalBroker) -> None:
    """Neither throws the other out, nor hears its answers."""
    async with (
        service(broker, "controller.1", "cancel", lambda packet: cancelled(packet.payload)),
        fedbus.connect(url(broker)) as one,
        fedbus.connect(url(broker)) as other,
    ):
        await asyncio.gather(one.cancel("a"), other.cancel("b"))
        with pytest.raises(Refused, match="job c is not cancelled: no such job") as refused:
            await one.cancel("c")
        assert refused.value.answer["reason"] == "no such job"


def cancelled(job: bytes) -> bytes:
    """Answer a cancellation as the controller does."""
    done = job in {b"a", b"b"}
    reason = {} if done else {"reason": "no such job"}
    return json.dumps({"job": job.decode(), "cancelled": done, **reason}).encode()


async def test_a_refused_job_has_its_faults(broker: LocalBroker) -> None:
    """Each with the key, the problem and a hint, and the whole answer for programs."""
    fault = {"key": "num_round", "problem": "unknown key", "hint": "did you mean 'num_rounds'?"}
    answer = {"accepted": False, "job": "", "faults": [fault]}
    async with (
        service(broker, "controller.1", "submit", lambda _: json.dumps(answer).encode()),
        fedbus.connect(url(broker)) as fed,
    ):
        with pytest.raises(JobRefused, match="the controller refused the job, 1 fault") as refused:
            await fed.submit({"num_round": 3})
    (found,) = refused.value.faults
    assert (found.key, found.hint) == ("num_round", "did you mean 'num_rounds'?")
    assert refused.value.answer == answer


@pytest.mark.parametrize("form", ["mapping", "path", "path as text", "text", "bytes"])
async def test_a_job_is_given_as_a_mapping_a_path_or_text(
    broker: LocalBroker, tmp_path: Path, form: str
) -> None:
    """And gets an id where it has none, so that repeating the request is one job still."""
    job = {"model_name": "digits", "num_rounds": 2}
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job))
    forms: dict[str, dict[str, object] | Path | str | bytes] = {
        "mapping": job,
        "path": path,
        "path as text": str(path),
        "text": f"  {json.dumps(job)}",
        "bytes": json.dumps(job).encode(),
    }
    given = forms[form]
    sent: list[dict[str, object]] = []

    def accept(packet: Packet) -> bytes:
        sent.append(json.loads(packet.payload))
        return json.dumps({"accepted": True, "job": sent[-1]["training_id"]}).encode()

    async with (
        service(broker, "controller.1", "submit", accept),
        fedbus.connect(url(broker)) as fed,
    ):
        made = await fed.submit(given)
        named = await fed.submit(given, job_id="mine")
    assert made.startswith("digits-")
    assert named == "mine"
    assert [{**each, "training_id": None} for each in sent] == [{**job, "training_id": None}] * 2


async def test_what_is_no_job_is_refused_before_it_is_sent(broker: LocalBroker) -> None:
    """With the sentence that the command prints."""
    async with fedbus.connect(url(broker)) as fed:
        with pytest.raises(SettingsError, match="not JSON"):
            await fed.submit("{")
        with pytest.raises(SettingsError, match=r"nowhere\.json: No such file"):
            await fed.submit("nowhere.json")
        with pytest.raises(SettingsError, match="at most 262144"):
            await fed.submit({"description": "x" * 2**18})


@pytest.mark.parametrize("name", ["", "#", "+", "a/b", "a\0b", "\ud800", "x" * 70_000])
async def test_a_name_that_nothing_can_have_is_refused_before_it_is_sent(
    broker: LocalBroker, name: str
) -> None:
    """It would be another topic, end the connection, or wait for an answer that never comes."""
    async with fedbus.connect(url(broker)) as fed:
        for ask in (fed.job, fed.cancel, fed.forget):
            with pytest.raises(SettingsError, match="is no job's id"):
                await ask(name)
        with pytest.raises(SettingsError, match="is no job's id"):
            await anext(fed.watch(name, submitted=True))
        for fetch in (fed.model, fed.pull):
            with pytest.raises(SettingsError, match="is no model's name"):
                await fetch(name)
        with pytest.raises(SettingsError, match="is no model's name"):
            await fed.infer(name, [[0.5]])


async def test_rows_of_different_lengths_are_refused_before_they_are_sent(
    broker: LocalBroker,
) -> None:
    """They are no array."""
    async with fedbus.connect(url(broker)) as fed:
        with pytest.raises(SettingsError, match="inputs: expected one array, rows first"):
            await fed.infer("digits", [[0.5, 0.5], [0.5]])


async def test_a_content_type_that_the_service_does_not_take_is_refused_in_its_words(
    broker: LocalBroker,
) -> None:
    """It says so in JSON."""
    answer = json.dumps({"error": "content type: got 'text/plain'"}).encode()
    async with (
        service(broker, "inference.1", "inference/digits/request", lambda _: answer),
        fedbus.connect(url(broker)) as fed,
    ):
        with pytest.raises(Refused, match="content type: got 'text/plain'"):
            await fed.infer_encoded("digits", b"x", "text/plain")


async def test_watching_ends_with_the_last_state(broker: LocalBroker) -> None:
    """What is retained comes first, then what is published; another job's states do not."""
    async with mqtt.connect(broker.address("controller.1"), name="controller.1") as bus:
        await bus.publish(state("j", round=1))
        async with fedbus.connect(url(broker)) as fed, asyncio.timeout(LONG):
            seen = []
            async for each in fed.watch("j"):
                seen.append((each.phase, each.round))
                if each.round == 1:
                    await bus.publish(state("other", round=7))
                    await bus.publish(state("j", "finished", 2))
            assert [one.job for one in await fed.jobs()] == ["j", "other"]
    assert seen == [("running", 1), ("finished", 2)]


async def test_an_unknown_job_is_refused_unless_it_was_just_submitted(
    broker: LocalBroker,
) -> None:
    """Its first state may follow the answer by a moment."""
    answer = json.dumps({"accepted": True, "job": "new"}).encode()
    async with (
        service(broker, "controller.1", "submit", lambda _: answer) as bus,
        fedbus.connect(url(broker)) as fed,
        asyncio.timeout(LONG),
    ):
        with pytest.raises(Refused, match="no job 'old' is known"):
            await anext(fed.watch("old"))
        job = await fed.submit({"model_name": "m", "num_rounds": 2, "training_id": "new"})
        first = asyncio.create_task(anext(fed.watch(job)))
        while not first.done():
            await bus.publish(state("new"))
            await asyncio.sleep(0.05)
        assert first.result().job == "new"


async def test_a_broker_killed_while_watching_is_waited_for(
    broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch goes on over a new connection, and so does the next method."""
    monkeypatch.setattr("fedbus.client.job_requests.RETRY_SECONDS", 0.1)
    async with fedbus.connect(url(broker)) as fed, asyncio.timeout(LONG):
        await publish(broker, state("j", round=1))
        watching = fed.watch("j")
        assert (await anext(watching)).round == 1
        broker.kill()
        rest = asyncio.create_task(collected(watching))
        with pytest.raises(BusError):
            await fed.agents()
        await asyncio.to_thread(broker.start)
        await publish(broker, state("j", "finished", 2))
        assert [each.phase for each in await rest] == ["finished"]
        assert [each.phase for each in await fed.jobs()] == ["finished"]


async def test_the_state_that_a_killed_broker_lost_is_waited_for(
    broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client may be back before the controller, which publishes the state again."""
    monkeypatch.setattr("fedbus.client.job_requests.RETRY_SECONDS", 0.1)
    async with fedbus.connect(url(broker)) as fed, asyncio.timeout(LONG):
        news = await followed_over_a_kill(broker, fed, away_seconds=LONG)
        await publish(broker, state("j", "finished", 2))
        assert [each.phase async for each in news if isinstance(each, JobState)] == ["finished"]


async def test_a_job_whose_state_stays_lost_is_refused(
    broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been forgotten while the connection was lost."""
    monkeypatch.setattr("fedbus.client.job_requests.RETRY_SECONDS", 0.1)
    async with fedbus.connect(url(broker)) as fed, asyncio.timeout(LONG):
        news = await followed_over_a_kill(broker, fed, away_seconds=1.0)
        with pytest.raises(Refused, match="no job 'j' is known"):
            await anext(news)


async def followed_over_a_kill(
    broker: LocalBroker, fed: Client, away_seconds: float
) -> AsyncIterator[JobNews]:
    """Follow a job; kill and start the broker; read until the client has found no state there."""
    await publish(broker, state("j", round=1))
    news = fed.follow("j", away_seconds=away_seconds)
    assert isinstance(await anext(news), JobState)
    broker.kill()
    await asyncio.to_thread(broker.start)
    lost = False
    async for each in news:
        assert isinstance(each, Awaiting)
        if lost and each.what.startswith("a controller"):
            return news
        lost = lost or each.what.startswith("the broker")
    raise AssertionError(news)


async def test_a_broker_that_stays_away_ends_the_watching(
    broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After as long as the caller says."""
    monkeypatch.setattr("fedbus.client.job_requests.RETRY_SECONDS", 0.05)
    await publish(broker, state("j"))
    async with fedbus.connect(url(broker)) as fed, asyncio.timeout(LONG):
        watching = fed.watch("j", away_seconds=0.2)
        await anext(watching)
        broker.kill()
        with pytest.raises(BusError, match=str(broker.port)):
            await anext(watching)


async def publish(broker: LocalBroker, packet: Packet) -> None:
    """Publish as the controller."""
    async with mqtt.connect(broker.address("controller.1"), name="controller.1") as bus:
        assert await bus.deliver(packet) or packet.retain


async def collected(news: AsyncIterator[JobState]) -> list[JobState]:
    """Read to the end."""
    return [each async for each in news]


async def test_a_request_with_blobs_outlives_a_login_of_another_program(
    broker: LocalBroker,
) -> None:
    """The broker lets each account in once; the node of the request connects and asks again."""
    asked = asyncio.Queue[str]()
    listen = [f"{TOPICS}/link/user.me/repository.1/+"]
    address = broker.address("repository.1")

    async def hear(bus: Bus) -> None:
        async for packet in bus:
            asked.put_nowait(packet.topic)

    async with (
        mqtt.connect(address, name="repository.1", listen=listen) as repository,
        fedbus.connect(url(broker)) as fed,
        asyncio.timeout(LONG),
    ):
        hearing = asyncio.create_task(hear(repository))
        models = asyncio.create_task(fed.models())
        assert (await asked.get()).endswith("/list_models")
        async with mqtt.connect(broker.address("user.me"), name="another"):
            pass
        await asked.get()
        listed = codec.pack(ModelsListed(models=()))
        while not models.done():  # an answer to a connection that has just ended is lost
            await repository.publish(
                Packet(f"{TOPICS}/link/repository.1/user.me/models_listed", listed)
            )
            await asyncio.wait({models}, timeout=0.1)
        assert models.result() == ()
        hearing.cancel()
        await asyncio.wait({hearing})


async def test_what_was_spent_comes_from_the_repository(broker: LocalBroker) -> None:
    """That of a version is in the document that the broker retains of it."""
    blob = BlobRef(digest="a" * 64, size=10)
    refs = [
        ModelRef(model=name, version=2, weights=blob, spec=blob, source="repository.1")
        for name in ("m", "n", "o")
    ]
    here = spent()
    documents = [
        ModelLatest(
            model=name,
            version=version,
            digest=blob.digest,
            size=10,
            spec=blob,
            source="repository.1",
            metrics={},
            parent=1,
            job="j",
            round=1,
            privacy=here,
        )
        for name, version in (("m", 2), ("n", 1))
    ]
    answers = {
        "list_models": ModelsListed(models=tuple(refs)),
        "show_privacy": shown(job(), epsilon=1.0),
    }

    async def serve(bus: Bus) -> None:
        async for packet in bus:
            kind = packet.topic.rpartition("/")[2]
            topic = {"list_models": "models_listed", "show_privacy": "privacy_shown"}[kind]
            payload = codec.pack(answers[kind])
            await bus.publish(Packet(f"{TOPICS}/link/repository.1/user.me/{topic}", payload))

    listen = [f"{TOPICS}/link/user.me/repository.1/+"]
    address = broker.address("repository.1")
    async with (
        mqtt.connect(address, name="repository.1", listen=listen) as repository,
        fedbus.connect(url(broker)) as fed,
        asyncio.timeout(LONG),
    ):
        for each in documents:
            topic = f"{TOPICS}/models/{each.model}/latest"
            await repository.publish(Packet(topic, codec.to_json(each), retain=True))
        later = f"{TOPICS}/models/o/latest"
        await repository.publish(
            Packet(later, b'{"model": "o", "of": "another fedbus"}', retain=True)
        )
        serving = asyncio.create_task(serve(repository))
        found = await fed.models()
        assert {each.model: each.privacy for each in found} == {"m": here, "n": None, "o": None}
        assert [each.model for each in found if each.trouble] == ["o"]
        assert found[-1].trouble.startswith(f"what the broker retains at {later} cannot be read")
        assert await fed.privacy("digits") == answers["show_privacy"]
        serving.cancel()
        await asyncio.wait({serving})


async def test_a_silent_service_is_named(broker: LocalBroker) -> None:
    """With how long it was waited for."""
    async with fedbus.connect(url(broker), answer_seconds=0.3) as fed:
        with pytest.raises(Unreachable, match=r"the inference service did not answer in 0\.3 s"):
            await fed.infer("m", np.ones((1, 2)))
        with pytest.raises(Unreachable, match=r"repository\.1 did not answer in 0\.3 s"):
            await fed.models()


async def test_a_cancelled_method_leaves_the_client_usable(broker: LocalBroker) -> None:
    """As `asyncio.timeout` cancels."""
    async with fedbus.connect(url(broker)) as fed:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await fed.infer("m", [[1.0]])
        assert await fed.jobs() == ()


async def test_a_closed_client_says_so(broker: LocalBroker) -> None:
    """It would hang otherwise, or connect again behind its user's back."""
    async with fedbus.connect(url(broker)) as fed:
        pass
    with pytest.raises(BusError, match="this client is closed"):
        await fed.jobs()


async def test_leaving_ends_what_still_runs(broker: LocalBroker) -> None:
    """With an error, and no task is left."""
    async with fedbus.connect(url(broker)) as fed:
        asking = asyncio.create_task(fed.infer("m", [[1.0]]))
        await fed.jobs()
    with pytest.raises(BusError, match="closed"):
        await asking
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "fedbus client"]


# ── without await ─────────────────────────────────────────────────────────────────────────────────


def test_the_sync_client_has_the_methods_of_the_asyncio_client() -> None:
    """With the same parameters, so that one page describes both."""

    def methods(of: type) -> dict[str, list[str]]:
        public = inspect.getmembers(of, inspect.isfunction)
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in public
            if not name.startswith("_") and name != "open"
        }

    assert methods(SyncClient) == methods(Client)


def test_the_sync_client_describes_its_methods_without_await() -> None:
    """`help` and notebooks show examples that run as they are, and what a loop gets."""
    described = {
        name: inspect.getdoc(method) or ""
        for name, method in inspect.getmembers(SyncClient, inspect.isfunction)
        if not name.startswith("_") and name != "close"
    }
    assert not [name for name, text in described.items() if re.search(r"\b(await|async)\b", text)]
    assert "    job = fed.submit(" in described["submit"]
    assert "    for state in fed.watch(" in described["watch"]
    assert all("Raises:" in text for text in described.values())
    assert inspect.signature(SyncClient.watch).return_annotation is Iterator
    assert inspect.signature(SyncClient.submit).return_annotation is str


async def test_the_sync_client_works_inside_a_running_loop(broker: LocalBroker) -> None:
    """As in a notebook, which has one."""
    await publish(broker, state("j", "finished", 2))
    with fedbus.connect_sync(url(broker)) as fed:
        assert [each.job for each in fed.jobs()] == ["j"]
        assert [each.phase for each in fed.watch("j")] == ["finished"]
        with pytest.raises(Refused, match="no job 'k' is known"):
            next(iter(fed.watch("k")))
    assert not [thread for thread in threading.enumerate() if thread.name == "fedbus client"]
    with pytest.raises(BusError, match="this client is closed"):
        fed.jobs()
    with pytest.raises(BusError, match="this client is closed"):
        fed.watch("j")
    fed.close()  # a second time


def test_the_sync_client_leaves_no_thread_where_it_cannot_connect() -> None:
    """The caller has no client to close then."""
    with pytest.raises(BusError):
        fedbus.connect_sync(f"mqtt://user.me:x@127.0.0.1:{free_port()}")
    assert not [thread for thread in threading.enumerate() if thread.name == "fedbus client"]


def test_iterating_is_left_in_the_middle(broker: LocalBroker) -> None:
    """The rest is not wanted, and the client goes on."""
    asyncio.run(publish(broker, state("j", round=1)))
    with fedbus.connect_sync(url(broker)) as fed:
        for each in fed.watch("j"):
            assert each.round == 1
            break
        assert [each.job for each in fed.jobs()] == ["j"]


SCRIPT = """
import signal, fedbus
signal.signal(signal.SIGINT, signal.default_int_handler)
fed = fedbus.connect_sync({url!r})
{body}
"""


def run_script(broker: LocalBroker, body: str) -> "subprocess.Popen[str]":
    """Start a script that connects."""
    script = SCRIPT.format(url=url(broker), body=body)
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_script_that_forgets_to_close_ends_by_itself(broker: LocalBroker) -> None:
    """As most notebooks do."""
    with run_script(broker, "print(fed.jobs())") as script:
        assert script.communicate(timeout=LONG) == ("()\n", "")
        assert script.returncode == 0


def test_ctrl_c_leaves_a_watching_script(broker: LocalBroker) -> None:
    """With KeyboardInterrupt, after which the client still works."""
    asyncio.run(publish(broker, state("j", round=1)))
    body = """
try:
    for state in fed.watch("j"):
        print(state.round, flush=True)
except KeyboardInterrupt:
    print([state.job for state in fed.jobs()])
"""
    with run_script(broker, body) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "1\n"
        script.send_signal(signal.SIGINT)
        assert script.communicate(timeout=LONG) == ("['j']\n", "")
        assert script.returncode == 0


def test_connecting_needs_nothing_of_the_command_line(tmp_path: Path) -> None:
    """`pip install fedbus` is enough for a program."""
    code = (
        "import sys, fedbus; fedbus.connect, fedbus.connect_sync; "
        "print({'typer', 'rich', 'torch', 'keras', 'psutil'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "set()\n"


def test_the_page_names_every_method_and_type() -> None:
    """A new one is described there."""
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    methods = [name for name in vars(Client) if not name.startswith("_")]
    unnamed = [name for name in methods if f"`{name}(" not in page]
    assert unnamed == ["login", "open"]
    results = {"NodeStatus", "StoredModel", "ModelHistory", "PulledModel", "PushedModel"}
    results |= {"Submission", "JobState", "RoundState", "JobHistory", "InferenceResult", "Awaiting"}
    errors = {"JobRefused", "Refused", "Unreachable", "Failed"}
    assert [
        name for name in results | errors if f"`{name}`" not in page.replace("fedbus.client.", "")
    ] == []


def test_every_method_has_its_errors_and_an_example() -> None:
    """`help(fedbus.client.Client)` is the reference."""
    lacking = [
        name
        for name, method in inspect.getmembers(Client, inspect.isfunction)
        if not name.startswith("_") and name not in {"open", "close"}
        if "Raises:" not in (method.__doc__ or "") or "fed." not in (method.__doc__ or "")
    ]
    assert lacking == []
