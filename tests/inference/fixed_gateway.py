"""A gateway without a core, for tests of the HTTP and gRPC servers in front of it."""

from collections.abc import Mapping

from fedbus.model.layout import Array
from fedbus_inference.local_requests import PredictionOutcome
from fedbus_inference.prediction_gateway import PredictionGateway
from fedbus_inference.serving_status import ModelStatus


class FixedGateway(PredictionGateway):
    """A gateway whose core always has the same outcome; it knows one model, digits.

    Attributes:
        asked: Model, choice and timeout in seconds of each request.
    """

    def __init__(self, outcome: PredictionOutcome) -> None:
        self.max_elements = 100
        self.outcome = outcome
        self.asked: list[tuple[str, str, float | None]] = []

    async def predict(
        self,
        model: str,
        choice: str,
        inputs: Mapping[str, Array],  # noqa: ARG002 - it is not predicted
        outputs: tuple[str, ...] = (),  # noqa: ARG002
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> PredictionOutcome:
        self.asked.append((model, choice, timeout))
        return self.outcome

    def statuses(self) -> tuple[ModelStatus, ...]:
        return (ModelStatus("digits", None, (), "being fetched"),)

    def status(self, model: str) -> ModelStatus | None:
        return self.statuses()[0] if model.partition("@")[0] == "digits" else None
