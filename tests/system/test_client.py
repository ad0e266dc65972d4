"""Python client against clusters of real processes and a real broker with access rules."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fedbus
from fedbus.client import Awaiting, JobRefused, PulledModel, Refused, RoundState
from fedbus.model.layout import Array
from tests.page_commands import ROOT
from tests.system.fedbus_up import FedbusUp, digits_job
from tests.system.process_cluster import MODEL, Plan, ProcessCluster

pytestmark = pytest.mark.system
LONG = 90.0


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FedbusUp]:
    """A cluster of three agents that train on handwritten digits."""
    pytest.importorskip("sklearn")
    pytest.importorskip("tflite_runtime")
    with FedbusUp(tmp_path_factory.mktemp("up"), "--agents", "3") as cluster:
        yield cluster


def held_out(up: FedbusUp) -> tuple[Array, Array]:
    """Digits that no agent trains on."""
    with np.load(up.home / "data" / "held_out.npz", allow_pickle=False) as shard:
        return shard["x"], shard["y"]


async def test_a_job_is_submitted_and_watched_to_its_end(up: FedbusUp) -> None:
    """The last state says how it ended; report and list say the same."""
    async with fedbus.connect(up.running.address.url) as fed, asyncio.timeout(LONG):
        job = await fed.submit(digits_job("api"))
        states = [state async for state in fed.watch(job)]
        report = await fed.job(job)
        assert report.state in await fed.jobs()
        again = await fed.submission(digits_job("api"))
    assert job == "api"
    assert (states[-1].phase, states[-1].round) == ("finished", 2)
    assert states[-1].metrics["accuracy"] > 0.5
    assert report.state == states[-1]
    assert [each.round for each in report.rounds] == [1, 2]
    assert (again.known, again.over, again.phase) == (True, True, "finished")


async def test_following_a_job_tells_of_its_rounds(up: FedbusUp) -> None:
    """Each once, on one connection, in order."""
    async with fedbus.connect(cluster=up.home) as fed, asyncio.timeout(LONG):
        job = await fed.submit(digits_job("rounds"), job_id="rounds.7")
        news = [each async for each in fed.follow(job)]
    assert job == "rounds.7"
    assert [each.round for each in news if isinstance(each, RoundState)] == [1, 2]
    assert not [each for each in news if isinstance(each, Awaiting)]


async def test_a_refused_job_names_each_fault(up: FedbusUp) -> None:
    """With its key; a job that is over cannot be cancelled."""
    async with fedbus.connect(up.running.address.url) as fed, asyncio.timeout(LONG):
        with pytest.raises(JobRefused, match="unknown key") as refused:
            await fed.submit(digits_job("wrong", num_round=3, config=[{"lerning_rate": 1}]))
        with pytest.raises(Refused, match="job nothing is not cancelled"):
            await fed.cancel("nothing")
        with pytest.raises(Refused, match="nothing"):
            await fed.job("nothing")
        with pytest.raises(Refused, match="nothing"):
            await fed.pull("nothing")
    assert {fault.key for fault in refused.value.faults} == {"num_round", "config[0].lerning_rate"}


async def test_a_job_is_cancelled_and_forgotten(up: FedbusUp) -> None:
    """Its watch ends with the state that says so."""
    async with fedbus.connect(up.running.address.url) as fed, asyncio.timeout(LONG):
        job = await fed.submit(digits_job("long", num_rounds=1000))
        async for state in fed.watch(job):
            if state.phase == "running":
                await fed.cancel(job)
        await fed.forget(job)
        assert job not in {each.job for each in await fed.jobs()}
    assert state.phase == "cancelled"


async def test_agents_say_what_they_can_do(up: FedbusUp) -> None:
    """Of services it is known that they are there."""
    async with fedbus.connect(up.running.address.url) as fed:
        agents = await fed.agents()
        nodes = await fed.nodes()
    facts = {one.node: one.facts for one in agents if one.facts is not None}
    assert set(facts) == {"agent.1", "agent.2", "agent.3", "agent.evaluator"}
    assert sum(each.examples for each in facts.values()) == 1797
    assert all(one.online and (one.age_seconds or 0) < 600 for one in agents)
    assert {"controller", "repository", "collector", "inference"} <= {one.role for one in nodes}


async def test_a_model_is_pulled_changed_pushed_and_asked(up: FedbusUp, tmp_path: Path) -> None:
    """What was pushed is what is served a moment later."""
    x, y = held_out(up)
    moved: list[int] = []
    async with fedbus.connect(up.running.address.url) as fed, asyncio.timeout(LONG):
        before = await fed.pull("digits", progress=moved.append)
        report = await fed.model("digits")
        changed = {name: array * np.float32(0.5) for name, array in before.weights.items()}
        np.savez(tmp_path / "half.npz", **changed)
        spec = up.write("spec.json", {"model": "halved", **spec_of(before)})
        pushed = await fed.push(spec, weights=tmp_path / "half.npz")
        after = await fed.fetch(pushed.ref)
        assert {one.model: one.version for one in await fed.models()}["halved"] == 1
        answer = await fed.infer("digits", x)
        one = await fed.infer_encoded(
            "digits", b'{"inputs": [' + str(x[0].tolist()).encode() + b"]}", "application/json"
        )
        with pytest.raises(Refused, match="inputs of shape"):
            await fed.infer("digits", np.ones((2, 3)))
    assert sum(moved) >= before.ref.weights.size
    assert report.ref == before.ref
    assert report.spec == before.spec
    assert all(np.array_equal(after.weights[name], changed[name]) for name in changed)
    assert before.save(tmp_path / "digits.npz").is_file()
    assert isinstance(answer.outputs, np.ndarray)
    assert answer.outputs.shape == (len(x), 10)
    assert np.allclose(answer.outputs[0], one["outputs"][0], atol=1e-5)
    assert np.mean(np.array(answer.classes) == y) == np.mean(answer.outputs.argmax(1) == y)


def spec_of(pulled: PulledModel) -> dict[str, object]:
    """Describe the same layout, for no framework."""
    layout = [
        {"name": each.name, "shape": list(each.shape), "dtype": each.dtype}
        for each in pulled.spec.layout
    ]
    return {"layout": layout, "architectures": {"own": {"name": "none"}}}


def test_the_sync_client_does_the_same(up: FedbusUp) -> None:
    """In the order in which a script says it."""
    x, _ = held_out(up)
    with fedbus.connect_sync(up.running.address.url) as fed:
        job = fed.submit(digits_job("sync", num_rounds=1))
        assert [state.phase for state in fed.watch(job)][-1] == "finished"
        assert fed.job(job).state.round == 1
        assert {one.role for one in fed.agents()} == {"agent"}
        pulled = fed.pull("digits")
        assert pulled.version >= 2
        assert fed.infer("digits", x[:3]).version >= 2
        assert "digits" in {one.model for one in fed.models()}
        with pytest.raises(Refused):
            fed.cancel(job)


async def test_a_job_is_watched_over_the_end_of_a_broker(up: FedbusUp) -> None:
    """The broker is killed with -9 and started again; the watch and the next method go on."""
    async with fedbus.connect(up.running.address.url) as fed, asyncio.timeout(LONG):
        job = await fed.submit(digits_job("killed", num_rounds=6))
        killed = False
        async for state in fed.watch(job):
            if state.round == 1 and not killed:
                killed = True
                await asyncio.to_thread(up.kill, "broker")
        assert (state.phase, state.round) == ("finished", 6)
        assert job in {each.job for each in await fed.jobs()}
        assert (await fed.pull("digits")).version == state.version


def test_the_page_of_the_client_runs_as_printed(up: FedbusUp) -> None:
    """Each example by itself, beside a cluster that it finds."""
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.+?)```", page, re.DOTALL)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(import fedbus\n.+?)```", readme, re.DOTALL)
    address = "mqtt://user:password@host:1883"
    assert address in shown
    examples.append(shown.replace(address, up.running.address.url))
    said = [up.python(example) for example in examples]
    assert len(said) == 5
    assert said[0].splitlines()[0].startswith(("accepted 0", "running"))
    assert "finished 2 {" in said[0]
    assert "agent.evaluator" in said[1]
    assert "probabilities" in said[2]
    assert "('num_round', \"did you mean 'num_rounds'?\")" in said[3]
    assert "finished 5 {" in said[4]


OTHER = """
import sys, fedbus
with fedbus.connect_sync(sys.argv[1]) as fed:
    print("begun", flush=True)
    for _ in range(5):
        assert len(fed.pull(sys.argv[2]).weights) == 2
        assert fed.jobs()
print("done", flush=True)
"""


async def test_one_account_serves_many_clients_where_a_broker_lets_each_in_once(
    tmp_path: Path,
) -> None:
    """As deployed brokers do: each new login ends the one before, and no request is lost by it."""
    plan = Plan(seed=1, accounts=("user.me",), numbers=300_000, train_seconds=0.2)
    async with ProcessCluster(tmp_path, plan) as cluster, asyncio.timeout(LONG):
        await cluster.submit(rounds=8)
        url = cluster.broker.address("user.me").url
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", OTHER, url, MODEL, stdout=subprocess.PIPE
        )
        async with fedbus.connect(url) as one, fedbus.connect(url) as two:
            watching = asyncio.create_task(last(one, "job-1"))
            for _ in range(5):
                pulled, models, jobs = await asyncio.gather(
                    two.pull(MODEL), one.models(), two.jobs()
                )
                assert pulled.spec.model == MODEL
                assert [each.model for each in models] == [MODEL]
                assert [each.job for each in jobs] == ["job-1"]
            said, _ = await other.communicate()
            assert said == b"begun\ndone\n"
            assert (await watching) == "finished"
        await cluster.finish(rounds=8)


async def last(fed: fedbus.client.Client, job: str) -> str:
    """Watch a job to its end."""
    async for state in fed.watch(job):
        phase = state.phase
    return phase
