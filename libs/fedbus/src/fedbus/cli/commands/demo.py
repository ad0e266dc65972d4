"""`fedbus demo`: a temporary cluster that trains one model on real data."""

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
from fedbus.cli.cluster_start import push_digits, start, watch_members
from fedbus.cli.commands import infer
from fedbus.cli.commands.up import FrameworkChoice, check_framework, signals
from fedbus.cli.exit_codes import Interrupted
from fedbus.cli.output import display
from fedbus.cli.output.job_view import watch
from fedbus.cli.signals import PROCESS_END
from fedbus.cli.submission import submit_job
from fedbus.client.address import BrokerLogin
from fedbus.client.failures import Failed
from fedbus.client.inference import JSON
from fedbus.client.task_group_errors import one_error
from fedbus.cluster.local import LocalCluster
from fedbus.cluster.members import ClusterPlan
from fedbus.core import clock
from fedbus.interruption import deferred_signals
from fedbus.mqtt.mosquitto import free_port
from fedbus.number_text import format_percent
from fedbus.wire.documents import JobState
from fedbus.wire.identifiers import role_of

SWAP_SECONDS = 10.0
OTHER_MEMBERS = 5
"""Number of members that do not train: four services and the evaluator."""
NEXT = """\
Where to look next:
  {fedbus} up
      the same cluster, until Ctrl-C
  {fedbus} job submit {job} --watch
      in another terminal: the job of this demo
  README.md, docs/architecture.md
      your own data and model, other MQTT clients, how it works\
"""


def demo(
    framework: Annotated[
        FrameworkChoice, typer.Option(help="Framework of the agents.")
    ] = FrameworkChoice.TFLITE,
    agents: Annotated[int, typer.Option(min=1, max=100, help="Number of agents that train.")] = 8,
) -> None:
    """Train a model of handwritten digits on agents that keep their data, and ask for a prediction.

    Starts a broker and every service in its own process, partitions scikit-learn's digits unevenly
    among the agents, trains until the accuracy on held-out digits is at least 90 %, and sends one
    of these to the inference service. Ends all processes that it started.
    """
    check_framework(framework)
    home = Path(tempfile.mkdtemp(prefix="fedbus-demo-"))
    PROCESS_END.folders.append(str(home))
    plan = ClusterPlan(
        home=home,
        agents=agents,
        framework=framework,
        port=free_port(),
        # The demo sends plain updates, and asks for the newest version.
        settings={"require_protection": "", "serve_alias": ""},
    )
    try:
        end = asyncio.run(_demo(plan))
    except Failed as error:
        raise Failed(f"{error}\nfiles of the demo: {home}") from error
    except BaseException:
        with deferred_signals():
            shutil.rmtree(home, ignore_errors=True)
        raise
    with deferred_signals():
        shutil.rmtree(home, ignore_errors=True)
    display.print_verbatim(f"\n{what_next()}\n")
    display.show(f"held-out accuracy: {display.format_metric('accuracy', end.metrics['accuracy'])}")


def what_next() -> str:
    """Format the commands to run next, with the path of `fedbus` on this machine."""
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
    raise Interrupted("the demo was interrupted; all its processes have ended")


async def _run(cluster: LocalCluster) -> JobState:
    plan, began = cluster.plan, clock.monotonic()
    trainers = len(cluster.members) - OTHER_MEMBERS
    display.show(
        f"{trainers} {plan.framework} agents train one model of handwritten digits; each keeps its "
        "data."
    )
    cluster.start_broker()
    here = await start(cluster)
    display.show(
        f"A broker, four services, the agents, and an evaluator with held-out digits: "
        f"{len(cluster.members) + 1} processes, online after {clock.monotonic() - began:.1f} s."
    )
    await push_digits(here)
    async with asyncio.TaskGroup() as tasks:
        guard = tasks.create_task(watch_members(cluster), name="guard")
        end = await _train(here, trainers)
        await _request_prediction(here, plan.home / "data" / "held_out.npz", end)
        guard.cancel()
    _show_memory(cluster)
    return end


async def _train(here: BrokerLogin, agents: int) -> JobState:
    job: dict[str, Any] = json.loads(demo_data.read("job.json"))
    job["round"] |= {"agents": agents, "quorum": math.ceil(0.75 * agents)}
    began = clock.monotonic()
    await submit_job(here, json.dumps(job).encode())
    end = await watch(here, job["training_id"], submitted=True)
    target = job["stopping_target"]["accuracy"]
    if end.phase != "finished" or end.metrics.get("accuracy", 0.0) < target:
        raise Failed(
            f"the job {end.phase}: {end.reason}; held out: {display.format_metrics(end.metrics)}"
        )
    seconds = clock.monotonic() - began
    display.show(f"{end.phase} after {end.round} rounds and {seconds:.1f} s: {end.reason}")
    return end


def _show_memory(cluster: LocalCluster) -> None:
    agents = [one for node, one in cluster.processes.items() if role_of(node) == "agent"]
    most = max((peak for one in agents if (peak := one.peak_memory())), default=0)
    if most:
        display.show(f"no agent used more than {display.format_size(most)} of memory")


async def _request_prediction(here: BrokerLogin, held_out: Path, end: JobState) -> None:
    """Request the prediction of a held-out digit as any MQTT client does, and print it."""
    with np.load(held_out, allow_pickle=False) as partition:
        pixels, truth = partition["x"][0].tolist(), int(partition["y"][0])
    payload = json.dumps({"inputs": [pixels]}).encode()
    until = clock.monotonic() + SWAP_SECONDS
    while True:
        answer = await infer.predict(here, end.model, payload, JSON)
        # The service loads a version shortly after its commit; the answer names the one it used.
        if answer["version"] == end.version or clock.monotonic() > until:
            break
    display.show("\nA held-out digit, sent to fedbus/v1/inference/digits/request:\n")
    display.show(display.draw_digit(pixels))
    guess = int(np.argmax(answer["outputs"][0]))
    sure = format_percent(answer["outputs"][0][guess])
    display.show(f"\nversion {answer['version']} predicts {guess} ({sure}); the label is {truth}")
