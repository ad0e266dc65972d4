"""The broker and all members of a local cluster: start them, watch them, stop them.

Everything here happens in one thread, the one whose death is the members' own (see `tether.py`).
Starting the broker blocks it for some ten milliseconds.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

from fedbus.cluster import partitions, ports, saved_state
from fedbus.cluster.backoff import RestartBackoff
from fedbus.cluster.members import UP_USER, USER, ClusterPlan, Member, accounts, members, rules
from fedbus.cluster.ports import HOST
from fedbus.cluster.process import Process, cause_of, die_with_parent_prefix
from fedbus.cluster.registry import RunningCluster
from fedbus.cluster.saved_state import SavedState
from fedbus.core import clock
from fedbus.errors import BusError, StoreError
from fedbus.mqtt.bus import BrokerAddress
from fedbus.mqtt.mosquitto import LocalBroker, PortTaken, free_port
from fedbus.wire.identifiers import role_of

DEFAULT_AGENTS = 8
PORTS_TRIED = 5
POLL_SECONDS = 0.1
MANY_AT_ONCE = "use_username_as_clientid false"
"""Here a person has one account for many commands and clients at once. On a deployed broker the
second to log in would throw out the first; there everybody gets an account of their own."""
STOP_SECONDS = 15.0
"""Until who does not end is killed: a framework that trains may take a while on a busy machine."""


class LocalCluster:
    """`async with LocalCluster(plan) as cluster:` leaves nothing of it running at its end.

    Inside, `start_broker` and then `start_members` start it.

    Args:
        plan: What a person wants.
        say: Told, in a sentence, what a person should know while it runs.
        changed: Called when a process has begun or ended.

    Raises:
        SettingsError: the data cannot be used, or Mosquitto is not installed.
    """

    def __init__(
        self,
        plan: ClusterPlan,
        say: Callable[[str], None] = lambda _: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.plan = plan
        self.changed = changed
        self.http: dict[str, str] = {}
        self.killed_at_stop: tuple[str, ...] = ()
        """Those that `stop` had to kill, since they did not end by themselves."""
        self._report = say
        self._started = time.time()
        self._broker_restarts = RestartBackoff()
        self._broker_at: float | None = None
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
            extra=(MANY_AT_ONCE,),
        )
        self.logs = plan.home / "logs"
        self.processes: dict[str, Process] = {}
        """By node, from the moment on when the broker has a port."""

    @property
    def address(self) -> BrokerAddress:
        """Where the person connects."""
        return self._address_of(USER)

    @property
    def up_address(self) -> BrokerAddress:
        """Where whoever starts the cluster connects."""
        return self._address_of(UP_USER)

    def _address_of(self, user: str) -> BrokerAddress:
        return self.broker.address(None if self.plan.open else user)

    @property
    def place(self) -> RunningCluster:
        """What other commands are told."""
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
        """Start the broker: on the plan's port, else on that of last time, on 1883, or a free one.

        Raises:
            BusError: it does not start.
            StoreError: its files cannot be written.
        """
        with self._writing():
            self._start_broker()
        self._broker_restarts.started(clock.monotonic())

    def _start_broker(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.plan.home / "agents").mkdir(exist_ok=True, mode=0o700)
        self._claim_port()
        at = BrokerAddress(HOST, self.broker.port)
        for member in self.members:
            self.processes[member.node] = Process(
                self._with_door(member),
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

    def _claim_port(self) -> None:
        """Only a broker that listens holds its port; until then another cluster may take it."""
        for _ in range(PORTS_TRIED):
            try:
                return self.broker.start()
            except PortTaken as error:
                if self.plan.port is not None:
                    raise PortTaken(f"{error}: {ports.owner_of(self.plan.port)} has it") from None
                self._take_another_port()
        return self.broker.start()

    def _take_another_port(self) -> None:
        taken, self.broker.port = self.broker.port, free_port()
        told = "who was told the old one needs `fedbus env` again" if self._saved.port else ""
        self._report(
            f"port {taken} is taken by {ports.owner_of(taken)}; this cluster takes "
            f"{self.broker.port} and keeps it" + (f": {told}" if told else "")
        )

    async def start_members(self) -> None:
        """Start everybody at once; the agents as soon as their data is there.

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
            names = len(agents) - 1
            await asyncio.to_thread(partitions.write_digits, self._data, names, self.plan.split)
        for process in agents:
            process.start(clock.monotonic())
        self.changed()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.plan.home}: {error.strerror or error}") from error

    # ── while it runs ─────────────────────────────────────────────────────────────────────────────

    async def watch(self) -> None:
        """Start again whoever dies, for ever, and say so."""
        while True:
            self._look_at_broker(clock.monotonic())
            for process in self.processes.values():
                self._look_at(process, clock.monotonic())
            await asyncio.sleep(POLL_SECONDS)

    def exited(self) -> list[Process]:
        """Name those that have ended; for who expects all to live."""
        return [process for process in self.processes.values() if process.ended is not None]

    def _look_at(self, process: Process, now: float) -> None:
        if process.restart_at is not None:
            if now >= process.restart_at:
                process.start(now)
                self._report(f"{process.node} is started again")
                self.changed()
        elif (code := process.ended) is not None:
            pause = process.restarts.died(now)
            process.restart_at = now + pause
            self._report(
                f"{process.node} {cause_of(code)}; starting it again in {pause:g} s "
                f"(its log: {process.log})"
            )
            self.changed()

    def _look_at_broker(self, now: float) -> None:
        if self._broker_at is None and self.broker.pid is None:
            pause = self._broker_restarts.died(now)
            self._broker_at = now + pause
            self._report(
                f"the broker died; starting it again in {pause:g} s (its log: {self.broker.log})"
            )
        elif self._broker_at is not None and now >= self._broker_at:
            self._broker_restarts.started(now)
            self._broker_at = None
            try:
                self.broker.start()
            except BusError as error:
                self._report(str(error))
            else:
                self._report("the broker is started again")
            self.changed()

    # ── the end ───────────────────────────────────────────────────────────────────────────────────

    async def stop(self) -> None:
        """End the members, who still say goodbye to the broker, then the broker."""
        for process in self.processes.values():
            process.signal(signal.SIGTERM)
        until = clock.monotonic() + STOP_SECONDS
        try:
            while self._living() and clock.monotonic() < until:  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(POLL_SECONDS / 5)
            self.killed_at_stop = () if self._killed else self._living()
        finally:
            for process in self.processes.values():
                process.reap()
            self.broker.stop()

    def kill(self) -> None:
        """End everything now; `stop` then has nothing to wait for."""
        self._killed = True
        for process in self.processes.values():
            process.signal(signal.SIGKILL)
        self.broker.kill()

    def _living(self) -> tuple[str, ...]:
        return tuple(node for node, process in self.processes.items() if process.pid is not None)

    def _with_door(self, member: Member) -> Member:
        if not self.plan.http:
            return member
        self.http[member.node] = ports.http_address(self._saved.http.get(member.node, ""))
        return replace(member, settings={**member.settings, "http": self.http[member.node]})
