"""Core of the inference service: dispatch of events to one server for each model. Pure.

The repository's announcements create model servers and bring versions to them; requests go to the
server of their model, which parses, predicts and replies in a thread.
"""

from collections.abc import Iterator, Mapping

from fedbus.core.actions import Action, Reply
from fedbus.core.events import (
    Event,
    Fetched,
    FetchFailed,
    Local,
    Ran,
    Received,
    Requested,
    RunFailed,
    Stopping,
    Woke,
)
from fedbus.core.interface import Core
from fedbus.errors import WireError
from fedbus.text import listed
from fedbus.wire.blobs import ModelRef
from fedbus.wire.documents import ModelAliases, ModelLatest
from fedbus.wire.messages import AliasMoved, ModelShown, RequestRefused
from fedbus.wire.topics import INFERENCE, MODEL_ALIASES, MODEL_LATEST
from fedbus.wire.version_choice import parse_version_choice
from fedbus_inference.encoding import Encoding, encoding_of
from fedbus_inference.keys import ModelKey
from fedbus_inference.last_good import LastGood
from fedbus_inference.loading import Runtime
from fedbus_inference.local_requests import LocalPrediction, RefusalKind
from fedbus_inference.model_server import STOPPING, ModelServer
from fedbus_inference.prediction import PredictionRequest, error_reply, refuse_request
from fedbus_inference.serving_context import Clock, ServingContext
from fedbus_inference.serving_status import ModelStatus
from fedbus_inference.settings import InferenceSettings


class InferenceCore(Core):
    """Answers requests for all models.

    Attributes:
        stats: What became of the requests.
    """

    # Models first: a broker sends retained messages as it accepts a subscription.
    listens = MODEL_LATEST, MODEL_ALIASES, INFERENCE

    def __init__(
        self,
        runtime: Runtime,
        settings: InferenceSettings | None = None,
        last_good: LastGood | None = None,
        clock: Clock = lambda: 0.0,
    ) -> None:
        self._context = ServingContext(
            runtime, settings or InferenceSettings(), last_good or LastGood(), clock
        )
        self.stats = self._context.stats
        self._is_stopping = False
        self._servers: dict[str, ModelServer] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """Return the numbers of requests, as `ServingStats.counts`."""
        return self.stats.counts

    @property
    def versions(self) -> dict[str, int]:
        """Return the version of each model that answers now."""
        served = {model: server.version for model, server in self._servers.items()}
        return {model: version for model, version in served.items() if version is not None}

    def statuses(self) -> tuple[ModelStatus, ...]:
        """Return the status of each model, ordered by name."""
        return tuple(self._servers[model].status() for model in sorted(self._servers))

    def status(self, model: str) -> ModelStatus | None:
        """Return the status of a model; None if it is unknown here."""
        server = self._servers.get(model)
        return None if server is None else server.status()

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Pass an event to the server of its model."""
        yield from self._handle(event, now)
        yield from self.stats.notes(now)

    def _handle(self, event: Event, now: float) -> Iterator[Action]:
        match event:
            case Local(LocalPrediction() as request):
                yield from self._requested_here(request, now)
            case Requested(topic) if topic is INFERENCE:
                yield from self._requested(event, now)
            case Received(_, ModelLatest() | ModelAliases() as document):
                yield from self._server_of(document.model).announced(document, now)
            case (
                Received(_, ModelShown(version=ModelRef(model=model)))
                | Received(_, AliasMoved(model=model))
                | Received(_, RequestRefused(about=model))
            ) if model in self._servers:
                yield from self._servers[model].handle(event, now)
            case (
                Ran(ModelKey(model))
                | RunFailed(ModelKey(model))
                | Fetched(ModelKey(model))
                | FetchFailed(ModelKey(model))
                | Woke(ModelKey(model))
            ):
                yield from self._servers[model].handle(event, now)
            case Stopping():
                self._is_stopping = True
                for server in self._servers.values():
                    yield from server.handle(event, now)
            case _:
                pass  # after Connected, the broker sends the retained announcements again

    def _server_of(self, model: str) -> ModelServer:
        if model not in self._servers:
            self._servers[model] = ModelServer(model, self._context)
        return self._servers[model]

    def _requested(self, event: Requested, now: float) -> Iterator[Action]:
        if event.reply is None:
            model = event.levels["model"][:64]
            yield from self.stats.ignored(model, event.unanswerable, now)
            return
        model, encoding, kind = event.levels["model"], Encoding.JSON, RefusalKind.INVALID
        try:
            encoding = encoding_of(event.content_type)
            model, choice = read_choice(model)
            kind = RefusalKind.STOPPING if self._is_stopping else RefusalKind.NOT_FOUND
            server = self._find_server(model)
        except WireError as error:
            self.stats.refused(model, kind, str(error), 0.0)
            yield error_reply(event.reply, encoding, model, str(error), kind)
            return
        target = event.levels["model"]
        match self._context.recent.begin(event.reply, target, event.payload, now):
            case Reply() as again:
                self.stats.counts["requests_repeated"] += 1
                yield again
            case True:
                self.stats.counts["requests_repeated"] += 1
            case _:
                request = PredictionRequest(
                    event.payload, encoding, event.reply, event.expiry, choice
                )
                yield from server.request(request, now)

    def _requested_here(self, request: LocalPrediction, now: float) -> Iterator[Action]:
        kind = RefusalKind.STOPPING if self._is_stopping else RefusalKind.NOT_FOUND
        try:
            check_choice(request.model, request.choice)
            server = self._find_server(request.model)
        except WireError as error:
            self.stats.refused(request.model, kind, str(error), 0.0)
            yield refuse_request(request, request.model, kind, str(error))
        else:
            yield from server.request(request, now)

    def _find_server(self, model: str) -> ModelServer:
        if self._is_stopping:
            raise WireError(STOPPING)
        server = self._servers.get(model)
        if server is None:
            known = listed(self._servers) or "none yet"
            raise WireError(f"no model {model[:64]!r} here; known: {known}")
        return server


def read_choice(word: str) -> tuple[str, str]:
    """Read a topic's level, `model` or `model@choice`; raise WireError if a part is wrong."""
    model, at, choice = word.partition("@")
    if at:
        parse_version_choice(word)
    return model, choice


def check_choice(model: str, choice: str) -> None:
    """Raise WireError if a choice is no version's number, alias or tag."""
    if choice:
        parse_version_choice(f"{model}@{choice}")
