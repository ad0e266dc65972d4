"""Local cluster: start and stop of the broker and all members.

All calls must come from one thread: the kernel kills the members when it ends (`die_with_parent`).
Starting the broker blocks it for about ten milliseconds.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from fedbus.atomic_write import os_errors_as_store_errors
from fedbus.cluster import partitions, ports, saved_state
from fedbus.cluster.members import (
    NOISE_KEY,
    UP_USER,
    USER,
    ClusterPlan,
    Member,
    accounts,
    members,
    rules,
)
from fedbus.cluster.ports import HOST
from fedbus.cluster.process import Process, die_with_parent_prefix
from fedbus.cluster.registry import RunningCluster
from fedbus.cluster.saved_state import SavedState
from fedbus.cluster.supervisor import POLL_SECONDS, Supervisor
from fedbus.core import clock
from fedbus.mqtt.bus import BrokerAddress
from fedbus.mqtt.mosquitto import LocalBroker, PortTaken, free_port
from fedbus.privacy.noise_key import keep_noise_key
from fedbus.wire.identifiers import role_of

DEFAULT_AGENTS = 8
MAX_PORT_ATTEMPTS = 5
SHARED_ACCOUNTS = "use_username_as_clientid false"
"""Broker setting: all commands and clients of the user share one account. A deployed broker
disconnects the first session when a second one logs in: there each client has an account."""
STOP_SECONDS = 15.0
"""Time until a member that does not exit is killed; training may take long to stop."""


class LocalCluster:
    """A broker and its members: `async with LocalCluster(plan) as cluster:` stops them at the end.

    Call `start_broker` and then `start_members` inside.

    Raises:
        SettingsError: the data cannot be used, or Mosquitto is not installed.
    """

    def __init__(
        self,
        plan: ClusterPlan,
        report: Callable[[str], None] = lambda _: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.plan = plan
        self.changed = changed
        self.http: dict[str, str] = {}
        self.killed_at_stop: tuple[str, ...] = ()
        """Members that `stop` killed, since they did not exit in time."""
        self._report = report
        self._started = time.time()
        self._killed = False
        if plan.data is None:
            names = [str(number) for number in range(1, (plan.agents or DEFAULT_AGENTS) + 1)]
        else:
            names = partitions.partition_names(plan.data, plan.agents)
        self._data = plan.data or plan.home / "data"
        self.members = members(plan, names, self._data)
        self._saved = saved_state.read(plan.home)
        nodes = [member.node for member in self.members]
        self.passwords = accounts(plan, nodes, self._saved.passwords)
        self.broker = LocalBroker(
            plan.home / "broker",
            accounts=self.passwords,
            rules=rules,
            host=HOST,
            port=plan.port or self._saved.port or ports.DEFAULT_PORT,
            launcher=die_with_parent_prefix(),
            extra=(SHARED_ACCOUNTS,),
        )
        self.logs = plan.home / "logs"
        self.processes: dict[str, Process] = {}
        """By node; empty until the broker has a port."""
        self.supervisor = Supervisor(self.broker, self.processes, report, changed)

    @property
    def address(self) -> BrokerAddress:
        """Address and login of the user."""
        return self._address_of(USER)

    @property
    def up_address(self) -> BrokerAddress:
        """Address and login of `fedbus up` itself."""
        return self._address_of(UP_USER)

    def _address_of(self, user: str) -> BrokerAddress:
        return self.broker.address(None if self.plan.open else user)

    @property
    def description(self) -> RunningCluster:
        """Description of the cluster for other commands."""
        running = {node: process.pid for node, process in self.processes.items()}
        running["broker"] = self.broker.pid
        return RunningCluster(
            home=str(self.plan.home),
            pid=os.getpid(),
            broker=self.address.url,
            started=self._started,
            processes={node: pid for node, pid in running.items() if pid is not None},
            http=self.http,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def start_broker(self) -> None:
        """Start the broker: on the plan's port, else on the previous one, on 1883 or a free one.

        Raises:
            BusError: it does not start.
            SettingsError: the file of the noise key cannot be used.
            StoreError: its files cannot be written.
        """
        with self._writing():
            self._start_broker()
        self.supervisor.broker_backoff.started(clock.monotonic())

    def _start_broker(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.plan.home / "agents").mkdir(exist_ok=True, mode=0o700)
        keep_noise_key(self.plan.home / NOISE_KEY)
        self._start_on_free_port()
        at = BrokerAddress(HOST, self.broker.port)
        for member in self.members:
            self.processes[member.node] = Process(
                self._with_http(member),
                at,
                self.passwords.get(member.node, ""),
                self.logs / f"{member.node}.log",
            )
        saved = SavedState(
            port=self.broker.port,
            passwords={**self._saved.passwords, **self.passwords},
            http={**self._saved.http, **self.http},
        )
        saved_state.write(self.plan.home, saved)

    def _start_on_free_port(self) -> None:
        """Try ports: another cluster may take a free one before the broker listens on it."""
        for _ in range(MAX_PORT_ATTEMPTS):
            try:
                return self.broker.start()
            except PortTaken as error:
                if self.plan.port is not None:
                    raise PortTaken(f"{error}: used by {ports.owner_of(self.plan.port)}") from None
                self._take_another_port()
        return self.broker.start()

    def _take_another_port(self) -> None:
        taken, self.broker.port = self.broker.port, free_port()
        hint = ": run `fedbus env` again where you used the old one" if self._saved.port else ""
        self._report(
            f"port {taken} is used by {ports.owner_of(taken)}; this cluster uses "
            f"{self.broker.port} from now on{hint}"
        )

    async def start_members(self) -> None:
        """Start all members at once; the agents as soon as their data are written.

        Raises:
            SettingsError: the data cannot be written.
            StoreError: another file cannot be written.
        """
        with self._writing():
            await self._start_members()

    async def _start_members(self) -> None:
        agents = [one for node, one in self.processes.items() if role_of(node) == "agent"]
        for process in (one for one in self.processes.values() if one not in agents):
            process.start(clock.monotonic())
        self.changed()
        if self.plan.data is None:
            count = len(agents) - 1  # without the evaluator
            await asyncio.to_thread(partitions.write_digits, self._data, count, self.plan.split)
        for process in agents:
            process.start(clock.monotonic())
        self.changed()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with os_errors_as_store_errors(self.plan.home):
            yield

    def exited(self) -> list[Process]:
        """Return the members that have exited."""
        return [process for process in self.processes.values() if process.exit_code is not None]

    async def stop(self) -> None:
        """Stop the members, which still log out of the broker, and then the broker."""
        for process in self.processes.values():
            process.signal(signal.SIGTERM)
        until = clock.monotonic() + STOP_SECONDS
        try:
            while self._running() and clock.monotonic() < until:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(POLL_SECONDS / 5)
            self.killed_at_stop = () if self._killed else self._running()
        finally:
            for process in self.processes.values():
                process.reap()
            self.broker.stop()

    def kill(self) -> None:
        """Kill all processes now; `stop` then returns at once."""
        self._killed = True
        for process in self.processes.values():
            process.signal(signal.SIGKILL)
        self.broker.kill()

    def _running(self) -> tuple[str, ...]:
        return tuple(node for node, process in self.processes.items() if process.pid is not None)

    def _with_http(self, member: Member) -> Member:
        if not self.plan.http:
            return member
        self.http[member.node] = ports.http_address(self._saved.http.get(member.node, ""))
        return member.with_http(self.http[member.node], self.plan.http_tokens)
