"""One model's desk: requests wait, a thread answers, a newer version takes over in between. Pure.

One prediction runs at a time, since a framework's model is used by one thread at a time; what came
meanwhile goes together into the next. Whoever was handed to a version is answered by it.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from fedbus.core.actions import Action, Note, Run, WakeAt
from fedbus.core.events import Event, Ran, RunFailed, Stopping, Woke
from fedbus_inference import keys
from fedbus_inference.last_good import LastGood
from fedbus_inference.limits import Limits
from fedbus_inference.loading import Runtime
from fedbus_inference.model_updater import Arrival
from fedbus_inference.prediction import Answers, Request, Served, answer, refusal


@dataclass(frozen=True, slots=True)
class _Waiting:
    request: Request
    until: float


class Desk:
    """Answer the requests for one model.

    Attributes:
        served: The version that answers; None until the first has come.
    """

    def __init__(
        self,
        model: str,
        runtime: Runtime,
        limits: Limits,
        counts: "Counter[str]",
        last_good: LastGood | None = None,
    ) -> None:
        self.served: Served | None = None
        self.arrival = Arrival(model, runtime, limits, last_good)
        self._old: Served | None = None  # it may still answer those whom it was handed
        self._model = model
        self._limits = limits
        self._counts = counts
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._running: tuple[Request, ...] = ()
        self._timed = False
        self._faulty = -1

    def request(self, request: Request, now: float) -> Iterator[Action]:
        """Answer, now or soon, or say why not."""
        full = len(self._waiting) >= self._limits.waiting
        size = len(request.payload)
        if self.served is None and self.arrival.coming is None:
            yield self._refuse(request, f"no version could be loaded yet: {self.arrival.problem}")
        elif full or self._waiting_bytes + size > self._limits.waiting_bytes:
            yield self._refuse(
                request, f"{len(self._waiting)} requests wait already; ask again in a moment"
            )
        else:
            self._waiting.append(_Waiting(request, now + self._limits.patience_seconds))
            self._waiting_bytes += size
            yield from self._predict()
            yield from self._watch()

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Go on with whatever this is about."""
        match event:
            case Ran(keys.Prediction(), Answers() as answers):
                yield from self._answered(answers)
            case RunFailed(keys.Prediction(), error):
                yield from self._broke(error)
            case Ran(keys.VersionLoading(), Served() as served):
                yield from self._swap(served, now)
            case Woke(keys.RequestDeadline()):
                yield from self._expire(now)
            case Stopping():
                for waiting in self._take_waiting():
                    yield self._refuse(waiting, "this replica is stopping; ask again")
            case _:
                yield from self.arrival.handle(event, now)

    def _swap(self, served: Served, now: float) -> Iterator[Action]:
        self._old, self.served = self.served, served
        if not self._running:
            self._retire()
        yield Note("model_swapped", {"model": self._model, "version": served.version})
        yield from self.arrival.landed(served, now)
        yield from self._predict()

    def _retire(self) -> None:
        old, self._old = self._old, None
        if old is not None:
            self.arrival.retired(old)

    def _predict(self) -> Iterator[Action]:
        if self.served is None or self._running or not self._waiting:
            return
        self._running = self._take_waiting()
        call = partial(answer, self.served, self._running, self._limits.numbers)
        yield Run(keys.Prediction(self._model), call)

    def _answered(self, answers: Answers) -> Iterator[Action]:
        self._running = ()
        self._retire()
        self._counts["requests_answered"] += len(answers.replies) - answers.refused
        self._counts["requests_refused"] += answers.refused
        yield from answers.replies
        if answers.failure:
            yield from self._note_failure(answers.failure)
        yield from self._predict()

    def _broke(self, error: Exception) -> Iterator[Action]:
        running, self._running = self._running, ()
        self._retire()
        failure = f"{type(error).__name__}: {error}"
        for request in running:
            yield self._refuse(request, f"the prediction failed: {failure}")
        yield from self._note_failure(failure)
        yield from self._predict()

    def _note_failure(self, failure: str) -> Iterator[Action]:
        # Once for each version: a client could otherwise fill the log.
        version = self.served.version if self.served else -1
        if version != self._faulty:
            self._faulty = version
            facts = {"model": self._model, "version": version, "reason": failure}
            yield Note("prediction_failed", facts)

    def _watch(self) -> Iterator[Action]:
        if self._waiting and not self._timed:
            self._timed = True
            yield WakeAt(keys.RequestDeadline(self._model), self._waiting[0].until)

    def _expire(self, now: float) -> Iterator[Action]:
        self._timed = False
        while self._waiting and self._waiting[0].until <= now:
            request = self._waiting.popleft().request
            self._waiting_bytes -= len(request.payload)
            why = self.arrival.problem or "the model is still loading, or busy"
            seconds = f"{self._limits.patience_seconds:g} s"
            yield self._refuse(request, f"no answer within {seconds}: {why}; ask again")
        yield from self._watch()

    def _take_waiting(self) -> tuple[Request, ...]:
        taken = tuple(waiting.request for waiting in self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        return taken

    def _refuse(self, request: Request, sentence: str) -> Action:
        self._counts["requests_refused"] += 1
        return refusal(request.reply, request.encoding, self._model, sentence)
