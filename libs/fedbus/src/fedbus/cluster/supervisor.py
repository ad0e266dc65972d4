"""Supervisor of a local cluster: restarts the broker and the members that exit."""

import asyncio
from collections.abc import Callable, Mapping

from fedbus.cluster.backoff import RestartBackoff
from fedbus.cluster.process import Process, cause_of
from fedbus.core import clock
from fedbus.errors import BusError
from fedbus.mqtt.mosquitto import LocalBroker

POLL_SECONDS = 0.1


class Supervisor:
    """Polls the processes of a cluster and restarts those that exit, after growing pauses.

    Args:
        report: Called with a sentence for the user about each exit and restart.
        changed: Called when a process has started or exited.
    """

    def __init__(
        self,
        broker: LocalBroker,
        processes: Mapping[str, Process],
        report: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.broker_backoff = RestartBackoff()
        self._broker = broker
        self._processes = processes
        self._report = report
        self._changed = changed
        self._broker_restart_at: float | None = None

    async def watch(self) -> None:
        """Restart what exits, until cancelled."""
        while True:
            self._check_broker(clock.monotonic())
            for process in self._processes.values():
                self._check(process, clock.monotonic())
            await asyncio.sleep(POLL_SECONDS)

    def _check(self, process: Process, now: float) -> None:
        if process.restart_at is not None:
            if now >= process.restart_at:
                process.start(now)
                self._report(f"{process.node} is started again")
                self._changed()
        elif (code := process.exit_code) is not None:
            pause = process.backoff.exited(now)
            process.restart_at = now + pause
            self._report(
                f"{process.node} {cause_of(code)}; starting it again in {pause:g} s "
                f"(its log: {process.log})"
            )
            self._changed()

    def _check_broker(self, now: float) -> None:
        if self._broker_restart_at is None and self._broker.pid is None:
            pause = self.broker_backoff.exited(now)
            self._broker_restart_at = now + pause
            self._report(
                f"the broker died; starting it again in {pause:g} s (its log: {self._broker.log})"
            )
        elif self._broker_restart_at is not None and now >= self._broker_restart_at:
            self.broker_backoff.started(now)
            self._broker_restart_at = None
            try:
                self._broker.start()
            except BusError as error:
                self._report(str(error))
            else:
                self._report("the broker is started again")
            self._changed()
