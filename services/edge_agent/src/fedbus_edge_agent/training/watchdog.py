"""Watchdog of the training thread: what the thread runs, and whether it makes progress. Pure.

Python cannot kill a thread. When one makes no progress for too long, its task is declined, the
agent reports that it accepts no more, and after a grace period the process exits with a code of its
own, so that its supervisor starts it again (docs/adr/0012).
"""

from collections.abc import Callable, Iterator
from typing import Any

from fedbus.core.actions import Action, Cancel, Introduce, Note, Quit, Run, WakeAt
from fedbus_edge_agent.keys import HungExit, StallCheck, WorkKey
from fedbus_edge_agent.training.cancellation import TaskControl

STALL_SECONDS = 600.0
CHECKS_PER_STALL = 4
"""Number of checks per stall timeout: a suspension of the process counts as one check only."""
GRACE_SECONDS = 30.0
"""Time to send the reason before the process exits; at most twice the stall timeout."""
EXIT_HUNG = 75


class TrainingThread:
    """The one thread that trains and evaluates, as the core sees it.

    Attributes:
        control, key: Those of the running work; None while the thread is idle.
        trouble: Why the thread gets no more work; "" while it makes progress.
    """

    def __init__(self, stall_seconds: float = STALL_SECONDS) -> None:
        self.control: TaskControl | None = None
        self.key: WorkKey | None = None
        self.trouble = ""
        self._stall_seconds = stall_seconds
        self._batches_seen = 0
        self._checks_without_progress = 0

    @property
    def idle(self) -> bool:
        """Whether the thread can begin work."""
        return self.control is None

    @property
    def usable(self) -> bool:
        """Whether the thread is idle and does not hang."""
        return self.control is None and not self.trouble

    def begin(
        self, key: WorkKey, control: TaskControl, call: Callable[[], Any], now: float
    ) -> Iterator[Action]:
        """Run a call in the thread; the core calls `ended` when its result arrives."""
        self.control, self.key = control, key
        self._batches_seen, self._checks_without_progress = control.batches_requested, 0
        yield Run(key, call)
        yield WakeAt(StallCheck(), now + self._stall_seconds / CHECKS_PER_STALL)

    def check(self, now: float) -> Iterator[Action]:
        """Report the thread as hung if it requested no batch during the stall timeout."""
        if self.control is None or self.key is None or self.trouble:
            return
        stalled = self.control.batches_requested == self._batches_seen
        self._checks_without_progress = self._checks_without_progress + 1 if stalled else 0
        self._batches_seen = self.control.batches_requested
        if self._checks_without_progress < CHECKS_PER_STALL:
            yield WakeAt(StallCheck(), now + self._stall_seconds / CHECKS_PER_STALL)
            return
        self.control.stop()
        position = self.control.position()
        where = f" ({position})" if position else ""
        self.trouble = f"training hangs: no batch for {self._stall_seconds:g} s{where}"
        yield Note("training_hung", {"work": self.key.parts(), "reason": self.trouble})
        yield WakeAt(HungExit(), now + min(GRACE_SECONDS, 2 * self._stall_seconds))
        yield Introduce()

    def ended(self) -> Iterator[Action]:
        """Mark the thread as idle, and as no longer hung if it was."""
        key, self.key, self.control = self.key, None, None
        yield Cancel(StallCheck())
        if self.trouble:
            self.trouble = ""
            yield Cancel(HungExit())
            yield Note("training_resumed", {"work": key.parts() if key else []})
            yield Introduce()

    def exit_if_hung(self) -> Iterator[Action]:
        """Exit the process if the thread still hangs at the end of the grace period."""
        if self.trouble:
            yield Quit(EXIT_HUNG, self.trouble)
