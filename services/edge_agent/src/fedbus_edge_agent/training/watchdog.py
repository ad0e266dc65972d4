"""The one thread that trains: what it is at, and whether it still moves. Pure.

A thread of Python cannot be killed. One that does not move for too long is given up: its task is
declined, the agent says that it takes no more, and after a grace the process leaves with an exit
code of its own, so that whoever supervises it starts it again (docs/adr/0012).
"""

from collections.abc import Callable, Iterator
from typing import Any

from fedbus.core.actions import Action, Cancel, Introduce, Note, Quit, Run, WakeAt
from fedbus_edge_agent.keys import HungExit, StallCheck, WorkKey
from fedbus_edge_agent.training.cancellation import TaskControl

STALL_SECONDS = 600.0
CHECKS_PER_STALL = 4
"""In so many equal parts of the patience it is looked at; a process that stood still loses one."""
GRACE_SECONDS = 30.0
"""For the reason to be heard by those who wait for the task; no more than twice the patience."""
EXIT_HUNG = 75


class TrainingThread:
    """What the thread works on.

    Attributes:
        flag: How it is told to stop, and says how far it is; None while it is idle.
        key: Key of what it works on; None while it is idle.
        trouble: Why nothing more is given to it; empty while it is well.
    """

    def __init__(self, stall_seconds: float = STALL_SECONDS) -> None:
        self.control: TaskControl | None = None
        self.trouble = ""
        self._patience = stall_seconds
        self.key: WorkKey | None = None
        self._batches_seen = 0
        self._still = 0

    @property
    def idle(self) -> bool:
        """Whether it can be given something."""
        return self.control is None

    def begin(
        self, key: WorkKey, control: TaskControl, call: Callable[[], Any], now: float
    ) -> Iterator[Action]:
        """Let it work on one thing; `ended` must follow its result."""
        self.control, self.key = control, key
        self._batches_seen, self._still = control.batches_requested, 0
        yield Run(key, call)
        yield WakeAt(StallCheck(), now + self._patience / CHECKS_PER_STALL)

    def look(self, now: float) -> Iterator[Action]:
        """See whether it has moved since the last look, and give it up if it has not for long."""
        if self.control is None or self.key is None or self.trouble:
            return
        self._still = self._still + 1 if self.control.batches_requested == self._batches_seen else 0
        self._batches_seen = self.control.batches_requested
        if self._still < CHECKS_PER_STALL:
            yield WakeAt(StallCheck(), now + self._patience / CHECKS_PER_STALL)
            return
        self.control.stop()
        place = self.control.place()
        where = f" ({place})" if place else ""
        self.trouble = f"training hangs: no batch for {self._patience:g} s{where}"
        yield Note("worker_hung", {"work": self.key.words(), "reason": self.trouble})
        yield WakeAt(HungExit(), now + min(GRACE_SECONDS, 2 * self._patience))
        yield Introduce()

    def ended(self) -> Iterator[Action]:
        """It is idle again, after all if it was given up."""
        key, self.key, self.control = self.key, None, None
        yield Cancel(StallCheck())
        if self.trouble:
            self.trouble = ""
            yield Cancel(HungExit())
            yield Note("worker_moves_again", {"work": key.words() if key else []})
            yield Introduce()

    def leave(self) -> Iterator[Action]:
        """The grace is over."""
        if self.trouble:
            yield Quit(EXIT_HUNG, self.trouble)
