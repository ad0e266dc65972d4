"""`fedbus demo`: the whole ring in half a minute, on real data, with nothing left behind."""

import asyncio
import json
import math
import shutil
import sys
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import numpy as np
import typer

from fedbus import demo_data
from fedbus.cli.cluster_start import guarded, push_digits, start
from fedbus.cli.commands import infer
from fedbus.cli.commands.up import FrameworkChoice, check_framework, signals
from fedbus.cli.exit_codes import Interrupted
from fedbus.cli.output import display
from fedbus.cli.output.job_view import watch
from fedbus.cli.signals import ENDING
from fedbus.cli.submission import submit_job
from fedbus.client.address import BrokerLogin
from fedbus.client.failures import Failed
from fedbus.client.groups import one_error
from fedbus.client.inference import JSON
from fedbus.cluster.local import LocalCluster
from fedbus.cluster.members import ClusterPlan
from fedbus.core import clock
from fedbus.interruption import deferred_signals
from fedbus.mqtt.mosquitto import free_port
from fedbus.rounding import format_percent
from fedbus.wire.documents import JobState
from fedbus.wire.identifiers import role_of

SWAP_SECONDS = 10.0
OTHERS = 5
"""Members that do not train: four services and the evaluator."""
NEXT = """\
Where to look next:
  {fedbus} up
      the same cluster, staying until Ctrl-C
  {fedbus} job submit {job} --watch
      in another terminal: this demo's job, trained on it
  README.md, docs/architecture.md
      your own data and model, and any MQTT client; how it works\
"""


def demo(
    framework: Annotated[
        FrameworkChoice, typer.Option(help="What agents train with.")
    ] = FrameworkChoice.TFLITE,
    agents: Annotated[int, typer.Option(min=1, max=100, help="How many train.")] = 8,
) -> None:
    """Train a model on handwritten digits with agents that never show their data, then ask it.

    Starts a broker and every service as a process of its own, deals scikit-learn's digits unevenly
    to the agents, trains until the accuracy on held-out digits passes 90 %, and sends one of those
    to the inference service. Ends everything it started.
    """
    check_framework(framework)
    home = Path(tempfile.mkdtemp(prefix="fedbus-demo-"))
    ENDING.folders.append(str(home))
    plan = ClusterPlan(home=home, agents=agents, framework=framework, port=free_port())
    try:
        end = asyncio.run(_demo(plan))
    except Failed as error:
        raise Failed(f"{error}\nwhat is left of the demo: {home}") from error
    except BaseException:
        with deferred_signals():
            shutil.rmtree(home, ignore_errors=True)
        raise
    with deferred_signals():
        shutil.rmtree(home, ignore_errors=True)
    display.commands(f"\n{what_next()}\n")
    display.say(f"held-out accuracy: {display.metric('accuracy', end.metrics['accuracy'])}")


def what_next() -> str:
    """Say what to type next, as it can be typed here."""
    given = Path(sys.argv[0])
    here = given if given.name == "fedbus" and given.is_file() else None
    on_path = shutil.which("fedbus")
    found = on_path is not None and here is not None and Path(on_path).samefile(here)
    fedbus = "fedbus" if here is None or found else quote(str(here))
    job = Path("examples/digits/job.json")
    if not job.is_file():
        with as_file(files("fedbus.demo_data")) as folder:
            job = folder / "job.json"
    return NEXT.format(fedbus=fedbus, job=quote(str(job)))


async def _demo(plan: ClusterPlan) -> JobState:
    stop = asyncio.Event()
    cluster = LocalCluster(plan)
    with signals(stop, cluster):
        async with cluster:
            with one_error():
                async with asyncio.TaskGroup() as tasks:
                    listening = tasks.create_task(_interrupted(stop), name="signals")
                    end = await tasks.create_task(_run(cluster), name="demo")
                    listening.cancel()
    return end


async def _interrupted(stop: asyncio.Event) -> None:
    await stop.wait()
    raise Interrupted("the demo was interrupted; everything it started has ended")


async def _run(cluster: LocalCluster) -> JobState:
    plan, began = cluster.plan, clock.monotonic()
    trainers = len(cluster.members) - OTHERS
    display.say(
        f"{trainers} {plan.framework} agents train one model of handwritten digits; their data "
        "stays with them."
    )
    cluster.start_broker()
    here = await start(cluster)
    display.say(
        f"A broker, four services, the agents, and an evaluator with digits that no agent sees: "
        f"{len(cluster.members) + 1} processes, online after {clock.monotonic() - began:.1f} s."
    )
    await push_digits(here)
    async with asyncio.TaskGroup() as tasks:
        guard = tasks.create_task(guarded(cluster), name="guard")
        end = await _train(here, trainers)
        await _ask(here, plan.home / "data" / "held_out.npz", end)
        guard.cancel()
    _say_memory(cluster)
    return end


async def _train(here: BrokerLogin, agents: int) -> JobState:
    job: dict[str, Any] = json.loads(demo_data.read("job.json"))
    job["round"] |= {"agents": agents, "quorum": math.ceil(0.75 * agents)}
    began = clock.monotonic()
    await submit_job(here, json.dumps(job).encode())
    end = await watch(here, job["training_id"], submitted=True)
    target = job["stopping_target"]["accuracy"]
    if end.phase != "finished" or end.metrics.get("accuracy", 0.0) < target:
        raise Failed(f"the job {end.phase}: {end.reason}; held out: {display.metrics(end.metrics)}")
    seconds = clock.monotonic() - began
    display.say(f"{end.phase} after {end.round} rounds and {seconds:.1f} s: {end.reason}")
    return end


def _say_memory(cluster: LocalCluster) -> None:
    agents = [one for node, one in cluster.processes.items() if role_of(node) == "agent"]
    most = max((peak for one in agents if (peak := one.peak_memory())), default=0)
    if most:
        display.say(f"no agent took more than {display.size(most)} of memory")


async def _ask(here: BrokerLogin, held_out: Path, end: JobState) -> None:
    """Send one held-out digit over its topic as any MQTT client would, and show what comes back."""
    with np.load(held_out, allow_pickle=False) as shard:
        pixels, truth = shard["x"][0].tolist(), int(shard["y"][0])
    payload = json.dumps({"inputs": [pixels]}).encode()
    until = clock.monotonic() + SWAP_SECONDS
    while True:
        answer = await infer.ask(here, end.model, payload, JSON)
        # It swaps to the last version a moment after that is committed, and says which it used.
        if answer["version"] == end.version or clock.monotonic() > until:
            break
    display.say("\nA held-out digit, sent to fedbus/v1/inference/digits/request:\n")
    display.say(display.digit(pixels))
    guess = int(np.argmax(answer["outputs"][0]))
    sure = format_percent(answer["outputs"][0][guess])
    display.say(
        f"\nversion {answer['version']} answers {guess} ({sure} sure); the truth is {truth}"
    )
