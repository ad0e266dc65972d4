"""What the inference service needs to know, from the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedbus.runtime.settings import ServiceSettings
from fedbus.scalars import IDENT
from fedbus_inference.limits import Limits

_DEFAULT = Limits()


class InferenceSettings(ServiceSettings):
    """`FEDBUS_RUNTIME`, `FEDBUS_MAX_NUMBERS` and their like."""

    runtime: Annotated[
        str,
        Field(pattern=rf"^{IDENT}$", description="auto, or a runtime or trainer plug-in"),
    ] = "auto"
    max_numbers: Annotated[
        int, Field(ge=1, le=2**30, description="numbers in the inputs of one request")
    ] = _DEFAULT.numbers
    max_model_mb: Annotated[
        int, Field(ge=1, le=2**16, description="MiB of one version's weights")
    ] = _DEFAULT.model_bytes // 2**20
    max_waiting: Annotated[
        int, Field(ge=1, le=100_000, description="requests that wait for one model")
    ] = _DEFAULT.waiting
    patience_seconds: Annotated[
        float, Field(gt=0, le=300, description="how long a request waits for its model")
    ] = _DEFAULT.patience_seconds

    home: Annotated[
        Path, Field(description="where it notes what it tried, and which versions answered")
    ] = Path("fedbus-inference")

    def limits(self) -> Limits:
        """What one model may take."""
        return Limits(
            model_bytes=self.max_model_mb * 2**20,
            numbers=self.max_numbers,
            waiting=self.max_waiting,
            patience_seconds=self.patience_seconds,
        )
