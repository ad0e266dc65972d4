"""`fedbus up`: a cluster that stays on this machine."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from fedbus.cli.cluster_start import push_digits, start
from fedbus.cli.commands.clusters import Home, chosen_home
from fedbus.cli.inputs.split_option import Split, check_split
from fedbus.cli.output import display
from fedbus.cli.signals import ENDING
from fedbus.client.failures import Failed
from fedbus.client.groups import one_error
from fedbus.cluster import registry
from fedbus.cluster.local import STOP_SECONDS, LocalCluster
from fedbus.cluster.members import ClusterPlan
from fedbus.cluster.partitions import left_out
from fedbus.cluster.registry import HomeLock
from fedbus.core import clock
from fedbus.errors import FedbusError, SettingsError
from fedbus.frameworks.installed import is_installed
from fedbus.interruption import SIGNALS
from fedbus.training.options import FRAMEWORKS
from fedbus.wire.topics import ROOT

# mosquitto_rr 2.0 sends nothing when it is given a file, hence the cat.
RECIPES = """\
In another terminal, fedbus finds this cluster by itself:
  fedbus{at} agents
  fedbus{at} job submit job.json --watch
  fedbus{at} logs --follow
and so does any MQTT client that is told where it is:
  mosquitto_sub $(fedbus{at} env --mosquitto) -v -t '{root}/jobs/+/state'
  mosquitto_rr $(fedbus{at} env --mosquitto) -e {root}/replies/me -t {root}/submit -m "$(cat job.json)"
  mosquitto_rr $(fedbus{at} env --mosquitto) -e {root}/replies/me -t {root}/inference/digits/request -m "$(cat inputs.json)"
  mosquitto_pub $(fedbus{at} env --mosquitto) -t {root}/cancel -m digits-1
Host, port and password for any other client, and FEDBUS_BROKER for programs that read it:
  fedbus{at} env --json
  eval "$(fedbus{at} env)\""""  # noqa: E501 - commands that are copied have no line breaks


class FrameworkChoice(StrEnum):
    """What the agents of a local cluster train with."""

    KERAS = "keras"
    TFLITE = "tflite"
    TORCH = "torch"


Trains = Annotated[FrameworkChoice, typer.Option(help="What agents train with.")]


def up(
    ctx: typer.Context,
    agents: Annotated[int | None, typer.Option(min=1, max=1000, help="8 by default.")] = None,
    framework: Trains = FrameworkChoice.TFLITE,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Shards of your own: agent.NAME.npz for every agent and held_out.npz, each with x "
            "and y. The handwritten digits by default.",
        ),
    ] = None,
    split: Split = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="By default that of last time, else 1883 or a free one."
        ),
    ] = None,
    home: Home = None,
    open_: Annotated[
        bool, typer.Option("--open", help="No passwords; anybody on this machine may do anything.")
    ] = False,
    http: Annotated[
        bool, typer.Option("--http", help="Open /healthz and /metrics of every service.")
    ] = False,
) -> None:
    """Start a whole cluster on this machine, and keep it until Ctrl-C.

    A broker on 127.0.0.1 with a password for every node, a repository, a controller, a collector,
    an inference service, agents that train and one that only evaluates. Who dies is started again.
    Logs are in HOME/logs. Ctrl-C ends all in order, a second one at once. Jobs and models stay in
    HOME, and so do passwords and ports: `fedbus up` again is found by all who knew it. HOME is
    ~/.local/state/fedbus/local, or DIR of --cluster DIR. Exits 1 if somebody did not end and was
    killed.
    """
    check_framework(framework)
    check_split(split, data)
    chosen = (chosen_home(ctx, home) or registry.default_home()).resolve()
    plan = ClusterPlan(
        home=chosen,
        agents=agents,
        framework=framework,
        data=None if data is None else data.resolve(),
        split=split,
        port=port,
        open=open_,
        http=http,
    )
    with HomeLock(chosen) as claim:
        try:
            asyncio.run(_live(plan, claim))
        except Failed:  # it names logs that lie there
            raise
        except FedbusError:
            claim.undo()
            raise


def check_framework(framework: FrameworkChoice) -> None:
    """Refuse a framework that is not installed here.

    Raises:
        SettingsError: it is not; says how to install it.
    """
    needed = FRAMEWORKS[framework]
    if not any(map(is_installed, needed.packages)):
        raise SettingsError(
            f"{framework} is not installed here: pip install 'fedbus[{needed.extra}]', or choose "
            "another --framework"
        )


@contextmanager
def signals(stop: asyncio.Event, cluster: LocalCluster) -> Iterator[None]:
    """Stop on the first Ctrl-C or SIGTERM, kill on the second."""
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        ENDING.terminated = ENDING.terminated or number == signal.SIGTERM
        if stop.is_set():
            cluster.kill()
        stop.set()

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number, how in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, how)


async def _live(plan: ClusterPlan, claim: HomeLock) -> None:
    stop = asyncio.Event()

    def publish() -> None:
        claim.publish(cluster.description)

    cluster = LocalCluster(plan, report=display.say, changed=publish)
    if plan.data is not None and (said := left_out(plan.data, plan.agents)):
        display.warn(said)
    with signals(stop, cluster):
        async with cluster:
            with one_error():
                async with asyncio.TaskGroup() as tasks:
                    living = tasks.create_task(_begin(cluster, claim), name="cluster")
                    await stop.wait()
                    living.cancel()
            display.say("stopping …")
    if cluster.killed_at_stop:
        raise Failed(
            f"{', '.join(cluster.killed_at_stop)} did not end within {STOP_SECONDS:g} s: killed; "
            f"their logs are in {cluster.logs}"
        )
    display.say("all processes have ended")


async def _begin(cluster: LocalCluster, claim: HomeLock) -> None:
    began = clock.monotonic()
    plan = cluster.plan
    cluster.start_broker()
    display.say(
        f"starting a broker on port {cluster.broker.port} and {len(cluster.members)} services"
    )
    here = await start(cluster)
    claim.keep()
    display.say(f"all are online after {clock.monotonic() - began:.1f} s; logs: {cluster.logs}")
    if plan.data is None:
        display.say(await push_digits(here))
    else:
        display.say("bring a model, if it is not there yet: fedbus models push SPEC.json")
    for node, door in cluster.http.items():
        display.say(f"http://{door}/healthz and /metrics: {node}")
    display.commands(f"\n{recipes(plan.home)}\n\nCtrl-C ends it.")
    await cluster.supervisor.watch()


def recipes(home: Path) -> str:
    """Write lines to paste into another terminal; they name this cluster where others run too."""
    others = any(one.home != str(home) for one in registry.running())
    at = f" --cluster {quote(str(home))}" if others else ""
    return RECIPES.format(at=at, root=ROOT)
