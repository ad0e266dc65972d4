"""Settings of the inference service, beside those of every service."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from fedbus.runtime.node_name import node_name
from fedbus.runtime.settings import ServiceSettings
from fedbus.scalars import IDENT

NO_BROKER: Final = "none"
"""FEDBUS_BROKER of a service that works alone."""


class InferenceSettings(ServiceSettings):
    """Settings of the runtime, and limits for each model."""

    runtime: Annotated[
        str, Field(pattern=rf"^{IDENT}$", description="auto, or a runtime or trainer plug-in")
    ] = "auto"
    max_input_elements: Annotated[
        int, Field(ge=1, le=2**30, description="numbers in the inputs of one request")
    ] = 4_000_000
    max_model_mb: Annotated[
        int, Field(ge=1, le=2**16, description="MiB of one version's weights")
    ] = 4096
    max_queued_requests: Annotated[
        int, Field(ge=1, le=100_000, description="requests that wait for one model")
    ] = 256
    max_batch_rows: Annotated[
        int, Field(ge=1, le=2**20, description="examples that a model is given at once")
    ] = 64
    batch_wait_ms: Annotated[
        float,
        Field(
            ge=0,
            le=1000,
            description="how long a request waits for others to be predicted with it, at most",
        ),
    ] = 0.0
    serve_alias: Annotated[
        str,
        Field(
            pattern=rf"^({IDENT})?$",
            description="alias of the version that answers a request which names none, such as "
            "production; without it, the newest version does",
        ),
    ] = ""
    canary_percent: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="requests that name no version, in percent, that the alias canary answers",
        ),
    ] = 0.0
    canary_min_requests: Annotated[
        int, Field(ge=1, le=10**9, description="requests of a canary before it may be rolled back")
    ] = 100
    canary_error_percent: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="percentage points by which more requests of a canary may fail than of the "
            "version beside it",
        ),
    ] = 5.0
    shadow: Annotated[
        bool,
        Field(description="compare answers, once they are sent, with those of the alias shadow"),
    ] = False
    max_chosen_versions: Annotated[
        int,
        Field(
            ge=0, le=1000, description="versions of one model that are loaded as requests choose"
        ),
    ] = 4
    max_chosen_mb: Annotated[
        int, Field(ge=1, le=2**20, description="MiB of the weights of such versions of one model")
    ] = 1024
    request_timeout_seconds: Annotated[
        float, Field(gt=0, le=300, description="how long a request waits for its model")
    ] = 10.0
    home: Annotated[
        Path,
        Field(description="folder of the results of .tflite trials and of each last good version"),
    ] = Path("fedbus-inference")
    max_request_mb: Annotated[
        int, Field(ge=1, le=1024, description="MiB of one request over HTTP or gRPC")
    ] = 32
    http_open: Annotated[
        bool,
        Field(description="answer predictions over HTTP and gRPC without tokens, on loopback only"),
    ] = False
    grpc: Annotated[
        str | None,
        Field(
            description="host:port of gRPC, as 0.0.0.0:50051; none by default",
            pattern=r"^[^:]+:\d{1,5}$",
        ),
    ] = None
    grpc_cert: Annotated[
        Path | None, Field(description="a certificate in PEM format: gRPC is then served over TLS")
    ] = None
    grpc_key: Annotated[Path | None, Field(description="the private key of that certificate")] = (
        None
    )
    grpc_model: Annotated[
        str | None,
        Field(
            description="the model that streams of BasicInferenceService ask, as digits or "
            "digits@production, where their metadata name none; by default the only one",
            pattern=rf"^{IDENT}(@{IDENT})?$",
        ),
    ] = None

    models: Annotated[
        Path | None,
        Field(
            description="a folder of models that are served without a repository and a broker: "
            "FEDBUS_BROKER is none then"
        ),
    ] = None

    @property
    def is_alone(self) -> bool:
        """Return whether the service works without a broker."""
        return self.broker == NO_BROKER

    def node(self, role: str) -> str:
        """Return the node name; without a broker, FEDBUS_NAME alone decides."""
        return node_name(role, self.name, None) if self.is_alone else super().node(role)

    @property
    def max_model_bytes(self) -> int:
        """Return the limit of a version's weights, and of its architecture file, in bytes."""
        return self.max_model_mb * 2**20

    @property
    def max_chosen_bytes(self) -> int:
        """Return the limit of the weights of versions that requests choose, in bytes."""
        return self.max_chosen_mb * 2**20
