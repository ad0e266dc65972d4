"""gRPC server of the inference service: address, TLS, limits, and a graceful stop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import grpc

from fedbus.errors import SettingsError
from fedbus.http_api.token_file import TokenFile
from fedbus_inference.grpc_api.basic_inference_calls import BasicInferenceCalls
from fedbus_inference.grpc_api.call_access import CallAccess
from fedbus_inference.grpc_api.open_inference_calls import OpenInferenceCalls
from fedbus_inference.prediction_gateway import PredictionGateway
from fedbus_inference.settings import InferenceSettings

STOP_SECONDS: Final = 2.0
"""How long calls in progress have to end after the service was told to stop."""
MAX_GRPC_CALLS: Final = 1024
"""Calls at once; further ones end with RESOURCE_EXHAUSTED."""


@asynccontextmanager
async def serve_grpc(
    gateway: PredictionGateway, settings: InferenceSettings, address: str
) -> AsyncIterator[None]:
    """Serve gRPC at an address until the context ends.

    Raises:
        SettingsError: The address is in use, or the tokens or the certificate cannot be read.
    """
    limit = settings.max_request_mb * 2**20
    options = (
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # two services at one port would share its calls by chance
    )
    file = settings.http_tokens_file
    access = () if file is None else (CallAccess(TokenFile(file)),)
    server = grpc.aio.server(
        interceptors=access, options=options, maximum_concurrent_rpcs=MAX_GRPC_CALLS
    )
    server.add_generic_rpc_handlers(
        (
            OpenInferenceCalls(gateway).handler(),
            BasicInferenceCalls(gateway, settings.grpc_model or "").handler(),
        )
    )
    try:
        _listen(server, address, settings.grpc_cert, settings.grpc_key)
        await server.start()
        yield
    finally:
        await server.stop(STOP_SECONDS)


def _listen(
    server: grpc.aio.Server, address: str, certificate: Path | None, key: Path | None
) -> None:
    try:
        if certificate is None and key is None:
            server.add_insecure_port(address)
            return
        if certificate is None or key is None:
            raise SettingsError("FEDBUS_GRPC_CERT and FEDBUS_GRPC_KEY: set both of them or none")
        pair = key.read_bytes(), certificate.read_bytes()
        server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    except OSError as error:
        raise SettingsError(
            f"FEDBUS_GRPC_CERT, FEDBUS_GRPC_KEY: {error.filename}: {error.strerror}"
        ) from error
    except (RuntimeError, ValueError) as error:
        raise SettingsError(
            f"FEDBUS_GRPC={address}: cannot listen there; is it in use, or the certificate not in "
            "PEM format?"
        ) from error
