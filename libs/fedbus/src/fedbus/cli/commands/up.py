"""`fedbus up`: a local cluster that runs until Ctrl-C."""

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from fedbus.cli.cluster_start import describe_key, push_digits, start
from fedbus.cli.commands.clusters import Home, chosen_home
from fedbus.cli.inputs.split_option import Split, check_split
from fedbus.cli.output import display
from fedbus.cli.signals import PROCESS_END
from fedbus.client.failures import Failed
from fedbus.client.task_group_errors import one_error
from fedbus.cluster import registry
from fedbus.cluster.caller_settings import ignored
from fedbus.cluster.local import STOP_SECONDS, LocalCluster
from fedbus.cluster.members import ENCRYPTION_KEYS, ClusterPlan
from fedbus.cluster.partitions import left_out
from fedbus.cluster.registry import HomeLock
from fedbus.core import clock
from fedbus.errors import FedbusError, SettingsError
from fedbus.frameworks.installed import is_installed
from fedbus.interruption import SIGNALS
from fedbus.training.options import FRAMEWORKS
from fedbus.wire.topics import ROOT

# `cat`, because mosquitto_rr 2.0 sends nothing if it is given a file.
RECIPES = """\
In another terminal, fedbus finds this cluster:
  fedbus{at} agents
  fedbus{at} job submit job.json --watch
  fedbus{at} logs --follow
Any MQTT client reaches it with the options of `fedbus env --mosquitto`:
  mosquitto_sub $(fedbus{at} env --mosquitto) -v -t '{root}/jobs/+/state'
  mosquitto_rr $(fedbus{at} env --mosquitto) -e {root}/replies/me -t {root}/submit -m "$(cat job.json)"
  mosquitto_rr $(fedbus{at} env --mosquitto) -e {root}/replies/me -t {root}/inference/digits/request -m "$(cat inputs.json)"
  mosquitto_pub $(fedbus{at} env --mosquitto) -t {root}/cancel -m digits-1
Host, port and password for other clients, and FEDBUS_BROKER for a shell:
  fedbus{at} env --json
  eval "$(fedbus{at} env)\""""  # noqa: E501 - commands that are copied have no line breaks

TOKENS_VARIABLE = "FEDBUS_HTTP_TOKENS_FILE"


class FrameworkChoice(StrEnum):
    """Framework of the agents of a local cluster."""

    KERAS = "keras"
    TFLITE = "tflite"
    TORCH = "torch"


Trains = Annotated[FrameworkChoice, typer.Option(help="Framework of the agents.")]


def up(
    ctx: typer.Context,
    agents: Annotated[int | None, typer.Option(min=1, max=1000, help="8 by default.")] = None,
    framework: Trains = FrameworkChoice.TFLITE,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Your own partitions: agent.NAME.npz of every agent and held_out.npz, with arrays "
            "x and y. The handwritten digits by default.",
        ),
    ] = None,
    split: Split = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="By default the last one of HOME, else 1883 or a free one."
        ),
    ] = None,
    home: Home = None,
    open_: Annotated[
        bool,
        typer.Option("--open", help="No passwords: all users of this machine have access."),
    ] = False,
    http: Annotated[
        bool,
        typer.Option(
            "--http",
            help="Serve /healthz and /metrics of every service, and with FEDBUS_HTTP_TOKENS_FILE, "
            "which `fedbus tokens` writes, their HTTP APIs.",
        ),
    ] = False,
) -> None:
    """Start a whole cluster on this machine, and run it until Ctrl-C.

    A broker on 127.0.0.1 with a password for every node, a repository, a controller, a collector,
    an inference service, agents that train and one that evaluates. A process that ends is started
    again. Ctrl-C ends all in order, a second Ctrl-C at once. HOME keeps jobs, models, passwords
    and ports for the next `fedbus up`, and logs in HOME/logs; it is DIR of --home DIR, else
    $XDG_STATE_HOME/fedbus/local (~/.local/state/fedbus/local). FEDBUS_HOME does not change it. Keys
    that `fedbus keys generate` has made in HOME/keys are those of encrypted jobs. Limits and
    choices of services, such as FEDBUS_CANARY_PERCENT, are passed on to them.
    Exits 1 if a process did not end in time and was killed.
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
        http_tokens=http_tokens(os.environ) if http else None,
    )
    for sentence in ignored(os.environ, http=http):
        display.warn(sentence)
    with HomeLock(chosen) as lock:
        try:
            asyncio.run(_run(plan, lock))
        except Failed:  # its message names logs in HOME
            raise
        except FedbusError:
            lock.undo()
            raise


def http_tokens(environ: Mapping[str, str]) -> Path | None:
    """Return the tokens file of the HTTP APIs, which has been read once; None: they are off.

    Raises:
        SettingsError: The file cannot be read, is not valid, or other users can read it.
    """
    if not (named := environ.get(TOKENS_VARIABLE)):
        return None
    # Imports the tokens of HTTP APIs only where one is served.
    from fedbus.http_api.token_file import load_tokens

    file = Path(named).resolve()
    load_tokens(file)
    return file


def check_framework(framework: FrameworkChoice) -> None:
    """Reject a framework that is not installed.

    Raises:
        SettingsError: the framework is not installed.
    """
    needed = FRAMEWORKS[framework]
    if not any(map(is_installed, needed.packages)):
        raise SettingsError(
            f"{framework} is not installed here: pip install 'fedbus[{needed.extra}]', or choose "
            "another --framework"
        )


@contextmanager
def signals(stop: asyncio.Event, cluster: LocalCluster) -> Iterator[None]:
    """Set `stop` on the first Ctrl-C or SIGTERM, kill the cluster on the second."""
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        PROCESS_END.terminated = PROCESS_END.terminated or number == signal.SIGTERM
        if stop.is_set():
            cluster.kill()
        stop.set()

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


async def _run(plan: ClusterPlan, lock: HomeLock) -> None:
    stop = asyncio.Event()

    def publish() -> None:
        lock.publish(cluster.description)

    cluster = LocalCluster(plan, report=display.show, changed=publish)
    if plan.data is not None and (warning := left_out(plan.data, plan.agents)):
        display.warn(warning)
    with signals(stop, cluster):
        async with cluster:
            with one_error():
                async with asyncio.TaskGroup() as tasks:
                    running = tasks.create_task(_begin(cluster, lock), name="cluster")
                    await stop.wait()
                    running.cancel()
            display.show("stopping …")
    if cluster.killed_at_stop:
        raise Failed(
            f"{', '.join(cluster.killed_at_stop)} did not end within {STOP_SECONDS:g} s: killed; "
            f"their logs are in {cluster.logs}"
        )
    display.show("all processes have ended")


async def _begin(cluster: LocalCluster, lock: HomeLock) -> None:
    began = clock.monotonic()
    plan = cluster.plan
    cluster.start_broker()
    display.show(
        f"starting a broker on port {cluster.broker.port} and {len(cluster.members)} services"
    )
    here = await start(cluster)
    lock.keep()
    display.show(f"all are online after {clock.monotonic() - began:.1f} s; logs: {cluster.logs}")
    if key := describe_key(plan.home / ENCRYPTION_KEYS):
        display.show(key)
    if plan.data is None:
        display.show(await push_digits(here))
    else:
        display.show("push your model, unless it is stored: fedbus models push SPEC.json")
    for node, address in cluster.http.items():
        display.show(f"http://{address}/healthz and /metrics: {node}")
    if plan.http:
        display.show(describe_http_apis(plan.http_tokens))
    display.print_verbatim(f"\n{recipes(plan.home)}\n\nCtrl-C ends it.")
    await cluster.supervisor.watch()


def describe_http_apis(tokens: Path | None) -> str:
    """State whether the HTTP APIs are on, and how to turn them on."""
    if tokens is not None:
        return f"their HTTP APIs take the tokens of {tokens}; /docs of each describes it"
    return (
        "their HTTP APIs are off; to turn them on, make FILE with `fedbus tokens new`, and start "
        f"{TOKENS_VARIABLE}=FILE fedbus up --http"
    )


def recipes(home: Path) -> str:
    """Format commands for another terminal; they name this cluster if others run, too."""
    others = any(one.home != str(home) for one in registry.running())
    at = f" --cluster {quote(str(home))}" if others else ""
    return RECIPES.format(at=at, root=ROOT)
