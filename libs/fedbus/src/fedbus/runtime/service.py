"""Process of a service: settings, connections, signals, health file, HTTP.

A service's `__main__` calls `service.main("collector", CollectorSettings, build)`, where
`build(settings, identity) -> Built` makes the core. `main` reads the settings, configures the
log, serves until SIGTERM or Ctrl-C, and exits 0; a second signal ends the process at once. A bad
setting exits 2 with a sentence that names the variable.
"""

import asyncio
import gc
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from fedbus.core import clock
from fedbus.core.blob_io import BlobFinder
from fedbus.core.interface import Core
from fedbus.distributions import version_of
from fedbus.errors import FedbusError, SettingsError
from fedbus.runtime import telemetry
from fedbus.runtime.health_file import keep_health_file
from fedbus.runtime.identity import Identity
from fedbus.runtime.loopback import LoopbackProbe
from fedbus.runtime.node import Node
from fedbus.runtime.reconnection import keep_connected
from fedbus.runtime.setting_names import PREFIX, refuse_misspelt
from fedbus.runtime.settings import ServiceSettings, settings_from
from fedbus.runtime.shell import Shell
from fedbus.runtime.small_structlog import structlog

if TYPE_CHECKING:
    from fedbus.runtime.http import HttpApi

log = structlog.get_logger()

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
INTERRUPTED = 130
"""128 + the number of SIGINT."""
CANCEL_AGAIN_SECONDS = 3.0
"""Disconnecting from the broker takes at most 2 s."""


Server: TypeAlias = "Callable[[Shell], AbstractAsyncContextManager[None]]"
"""What a service serves beside the bus, for as long as the context lasts."""


@dataclass(frozen=True, slots=True)
class Built:
    """Parts of a service; `http_api` makes its HTTP API, and is called if FEDBUS_HTTP is set.

    `connect` runs the shell until it is cancelled, in place of the connection to FEDBUS_BROKER.
    `servers` are entered after HTTP is served, and left before it ends: when the core has been
    informed of the stop, so that requests in progress have their answer or a refusal.
    `spare_threads` are started beside those of FEDBUS_THREADS, for calls that must not wait for
    long ones.
    """

    core: Core
    stored: BlobFinder | None = None
    close: Callable[[], None] = lambda: None
    http_api: "Callable[[Shell], HttpApi] | None" = None
    spare_threads: int = 0
    servers: Sequence[Server] = ()
    connect: "Callable[[Shell], Coroutine[None, None, None]] | None" = None


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: a cancellation that arrives while a connection breaks can be lost, for
    example in Python 3.11's `wait_for`, which aiomqtt logs in with.
    """
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)


@dataclass(frozen=True, slots=True)
class ServiceExit:
    """Exit code of a service, and whether all its threads have ended."""

    code: int
    done: bool


async def run(built: Built, identity: Identity, settings: ServiceSettings) -> ServiceExit:
    """Serve until SIGTERM or SIGINT, or until the core quits."""
    rng = random.SystemRandom()
    node = Node(
        identity,
        built.core,
        rng,
        stored=built.stored,
        vitals=telemetry.vitals,
        watch=fault_point(),
    )
    shell = make_shell(built, node, settings)
    stop_on_signal(shell.stopping.set)
    with structlog.contextvars.bound_contextvars(node=identity.name):
        async with (
            http_server(shell, settings, built),
            serving(shell, built.servers),
            asyncio.TaskGroup() as tasks,
        ):
            connect = built.connect
            serve = connect(shell) if connect else keep_connected(shell, settings.address(), rng)
            connection = tasks.create_task(serve, name="connection")
            beat = keep_health_file(shell, settings.health_file, settings.heartbeat_seconds)
            pulse = tasks.create_task(beat, name="pulse")
            await shell.stopping.wait()
            await shell.announce_stop()
            await end(connection, pulse)
        shell.close()
        done = await shell.wait_for_threads()
        built.close()
        (received, received_bytes), (sent, sent_bytes) = shell.traffic.values()
        log.info(
            "service_stopped",
            received=received,
            received_bytes=received_bytes,
            sent=sent,
            sent_bytes=sent_bytes,
        )
        if not done:
            log.warning("work_cut_short", reason="a thread did not end after it was cancelled")
    return ServiceExit(shell.code, done)


def make_shell(built: Built, node: Node, settings: ServiceSettings) -> Shell:
    """Make the shell, which probes a broker, but not another bus."""
    probe, own = None, node.identity
    if built.connect is None:
        username = settings.address().username
        probe = LoopbackProbe(own.name, own.root, own.incarnation, username)
    return Shell(node, settings.threads + built.spare_threads, probe)


def stop_on_signal(stop: Callable[[], None]) -> None:
    """Stop on the first SIGTERM or SIGINT; on the second the kernel ends the process."""
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal)


@asynccontextmanager
async def http_server(shell: Shell, settings: ServiceSettings, built: Built) -> AsyncIterator[None]:
    """Serve HTTP if FEDBUS_HTTP is set."""
    if settings.http is None:
        yield
        return
    # aiohttp is imported only if it is needed.
    from fedbus.runtime.http import HttpAddress, HttpApi, start_http_server  # noqa: PLC0415

    own = HttpApi() if built.http_api is None else built.http_api(shell)
    where = HttpAddress(settings.http, settings.http_cert, settings.http_key)
    runner = await start_http_server(shell, where, own)
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving(shell: Shell, servers: Sequence[Server]) -> AsyncIterator[None]:
    """Serve what a service has beside the bus and HTTP."""
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server(shell))
        yield


def fault_point() -> Callable[[str], None] | None:
    """Return a watch that kills this process at the step of FEDBUS_FAULT_AT, `step:count`."""
    wanted = os.environ.get("FEDBUS_FAULT_AT", "")
    if not wanted:
        return None
    step, _, count = wanted.rpartition(":")
    left = int(count)

    def watch(name: str) -> None:
        nonlocal left
        if name == step:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return watch


S = TypeVar("S", bound=ServiceSettings)


def main(role: str, kind: type[S], build: Callable[[S, Identity], Built]) -> None:
    """Run a service with settings from the environment until it is stopped; exit."""
    try:
        own = frozenset(PREFIX + field.upper() for field in kind.model_fields)
        unknown = refuse_misspelt(os.environ, own)
        settings = settings_from(os.environ, kind)
        telemetry.configure_logging(settings.log, settings.log_level)
        for one in unknown:
            log.warning("setting_unknown", reason=str(one))
        identity = Identity(
            name=settings.node(role),
            incarnation=clock.incarnation(),
            version=version_of("fedbus"),
            root=settings.root,
            open_profile=settings.open,
            in_flight=settings.in_flight_mb * 2**20,
            heartbeat_seconds=settings.heartbeat_seconds,
        )
        built = build(settings, identity)
        gc.freeze()  # these objects stay: garbage collection need not traverse them again
        ended = asyncio.run(run(built, identity, settings))
    except FedbusError as error:
        sys.stderr.write(f"fedbus-{role}: {error}\n")
        raise SystemExit(2 if isinstance(error, SettingsError) else 1) from None
    except KeyboardInterrupt:  # later, the event loop handles the signal
        sys.stderr.write(f"fedbus-{role}: interrupted before it started\n")
        raise SystemExit(INTERRUPTED) from None
    if not ended.done:
        # Python would wait for the thread without limit. All state to keep is on the disk.
        sys.stderr.flush()
        os._exit(ended.code)
    if ended.code:
        raise SystemExit(ended.code)
