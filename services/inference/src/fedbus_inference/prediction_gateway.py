"""Gateway from this process's HTTP and gRPC servers to the core: requests in, outcomes out."""

import asyncio
from collections.abc import Mapping

from fedbus.model.layout import Array
from fedbus.runtime.shell import Shell
from fedbus_inference.core import InferenceCore
from fedbus_inference.local_requests import LocalPrediction, PredictionOutcome
from fedbus_inference.serving_status import ModelStatus


class PredictionGateway:
    """Passes requests to the core as `Local` events and waits for what it delivers.

    Attributes:
        max_elements: Numbers that the inputs of one request may have.
    """

    def __init__(self, shell: Shell, core: InferenceCore, max_elements: int) -> None:
        self.max_elements = max_elements
        self._shell = shell
        self._core = core

    async def predict(
        self,
        model: str,
        choice: str,
        inputs: Mapping[str, Array],
        outputs: tuple[str, ...] = (),
        timeout: float | None = None,  # noqa: ASYNC109 - the core ends the request with a sentence
    ) -> PredictionOutcome:
        """Return the outcome of a request; a name `model@choice` is a choice of the version too.

        A caller that is cancelled, because its client went away, gets no outcome.
        """
        name, _, named_choice = model.partition("@")
        waiting = asyncio.get_running_loop().create_future()

        def deliver(outcome: PredictionOutcome) -> None:
            if not waiting.done():
                waiting.set_result(outcome)

        self._shell.receive_local(
            LocalPrediction(
                name,
                deliver,
                choice=choice or named_choice,
                inputs=inputs,
                outputs=outputs,
                timeout=timeout,
            )
        )
        found: PredictionOutcome = await waiting
        return found

    def statuses(self) -> tuple[ModelStatus, ...]:
        """Return the status of each model, ordered by name."""
        return self._core.statuses()

    def status(self, model: str) -> ModelStatus | None:
        """Return the status of a model; None if it is unknown here."""
        return self._core.status(model.partition("@")[0])
