"""Server of one model: sends each request to the version that it is for. Pure."""

from collections.abc import Iterator

from fedbus.core.actions import Action
from fedbus.core.events import Event, Stopping
from fedbus.errors import WireError
from fedbus.wire.documents import ModelLatest
from fedbus_inference.last_good import LastGood
from fedbus_inference.loading import Runtime
from fedbus_inference.local_requests import RefusalKind
from fedbus_inference.model_updater import ModelUpdater
from fedbus_inference.prediction import Request
from fedbus_inference.serving_stats import ServingStats
from fedbus_inference.serving_status import ModelStatus, VersionStatus
from fedbus_inference.settings import InferenceSettings
from fedbus_inference.version_server import Clock, VersionServer

DEFAULT_SLOT = ""


class ModelServer:
    """Answers the requests for one model."""

    def __init__(  # noqa: PLR0913, PLR0917 - what all models of a process share
        self,
        model: str,
        runtime: Runtime,
        settings: InferenceSettings,
        stats: ServingStats,
        last_good: LastGood,
        clock: Clock,
    ) -> None:
        self._model = model
        updater = ModelUpdater(model, runtime, settings, last_good)
        self._default = VersionServer(model, DEFAULT_SLOT, updater, settings, stats, clock)

    @property
    def version(self) -> int | None:
        """Return the version that answers requests without a version choice."""
        return self._default.served.version if self._default.served else None

    def announced(self, latest: ModelLatest, now: float) -> Iterator[Action]:
        """Load the newest version."""
        yield from self._default.updater.announced(latest, now)

    def request(self, request: Request, now: float) -> Iterator[Action]:
        """Answer a request, or refuse it with the reason."""
        yield from self._default.request(request, now)

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Handle an event of this model."""
        match event:
            case Stopping():
                sentence = "this replica is stopping; ask again"
                yield from self._default.refuse_all(RefusalKind.STOPPING, sentence, now)
            case _:
                yield from self._default.handle(event, now)

    def check_choice(self, choice: str) -> None:
        """Raise WireError for a version that does not answer here."""
        serving = "" if self.version is None else str(self.version)
        if choice not in {"", serving}:
            raise WireError(
                f"model {self._model!r}: version {choice[:64]!r} is not served here; "
                f"served: {serving or 'none yet'}"
            )

    def status(self) -> ModelStatus:
        """Return which versions answer, or why none does."""
        served, updater = self._default.served, self._default.updater
        versions = []
        if served is not None:
            versions.append(VersionStatus(served.version, served))
        incoming = updater.incoming
        if incoming and (served is None or incoming.version != served.version):
            reason = updater.problem or "it is being loaded"
            versions.append(VersionStatus(incoming.version, None, reason))
        versions.sort(key=lambda each: each.version)
        if served is not None:
            return ModelStatus(self._model, served.version, tuple(versions))
        reason = updater.problem or "the first version is being loaded"
        return ModelStatus(self._model, None, tuple(versions), reason)
