"""The inference service: it answers requests with the newest version of each model. Pure.

Every model has a desk. The repository's announcements open desks and bring versions to them;
requests go to the desk of their model, where a thread reads, predicts and writes.
"""

from collections import Counter
from collections.abc import Iterator

from fedbus.core.actions import Action
from fedbus.core.events import (
    Event,
    Fetched,
    FetchFailed,
    Ran,
    Received,
    Requested,
    RunFailed,
    Stopping,
    Woke,
)
from fedbus.errors import WireError
from fedbus.text import listed
from fedbus.wire.documents import AgentFacts, ModelLatest
from fedbus.wire.topics import INFERENCE, MODEL_LATEST, Topic
from fedbus_inference.encoding import Encoding, encoding_of
from fedbus_inference.keys import ModelKey
from fedbus_inference.last_good import LastGood
from fedbus_inference.limits import Limits
from fedbus_inference.loading import Runtime
from fedbus_inference.model_server import Desk
from fedbus_inference.prediction import Request, refusal
from fedbus_inference.unanswered import Unanswered


class InferenceCore:
    """Answer for all models.

    Attributes:
        counts: requests_answered, requests_refused, requests_ignored (nobody to answer).
    """

    def __init__(
        self, runtime: Runtime, limits: Limits | None = None, last_good: LastGood | None = None
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._runtime = runtime
        self._limits = limits or Limits()
        self._last_good = last_good or LastGood()
        self._desks: dict[str, Desk] = {}
        self._unanswered = Unanswered()

    @property
    def listens(self) -> tuple[Topic, ...]:
        """Models first: a broker sends what is retained as it takes each subscription."""
        return MODEL_LATEST, INFERENCE

    @property
    def versions(self) -> dict[str, int]:
        """Which version of which model answers now."""
        return {model: desk.served.version for model, desk in self._desks.items() if desk.served}

    def facts(self) -> AgentFacts | None:
        """Only agents announce facts."""
        return None

    def progress(self) -> float:
        """No task runs here."""
        return 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Send each event to the desk it is about."""
        match event:
            case Requested(topic) if topic is INFERENCE:
                yield from self._requested(event, now)
            case Received(_, ModelLatest(model=model) as latest):
                if model not in self._desks:
                    self._desks[model] = Desk(
                        model, self._runtime, self._limits, self.counts, self._last_good
                    )
                yield from self._desks[model].arrival.announced(latest, now)
            case (
                Ran(ModelKey(model))
                | RunFailed(ModelKey(model))
                | Fetched(ModelKey(model))
                | FetchFailed(ModelKey(model))
                | Woke(ModelKey(model))
            ):
                yield from self._desks[model].handle(event, now)
            case Stopping():
                for desk in self._desks.values():
                    yield from desk.handle(event, now)
            case _:
                pass  # connected: the broker says itself which models there are

    def _requested(self, event: Requested, now: float) -> Iterator[Action]:
        if event.reply is None:
            self.counts["requests_ignored"] += 1
            model = event.levels["model"][:64]
            yield from self._unanswered.note(model, event.unanswerable, now)
            return
        model, encoding = event.levels["model"], Encoding.JSON
        try:
            encoding = encoding_of(event.content_type)
            desk = self._known(model)
        except WireError as error:
            self.counts["requests_refused"] += 1
            yield refusal(event.reply, encoding, model, str(error))
        else:
            yield from desk.request(Request(event.payload, encoding, event.reply), now)

    def _known(self, model: str) -> Desk:
        desk = self._desks.get(model)
        if desk is None:
            known = listed(self._desks) or "none yet"
            raise WireError(f"no model {model[:64]!r} here; known: {known}")
        return desk
