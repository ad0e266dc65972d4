"""Entry point of the inference service: settings to core, and to servers of HTTP and gRPC."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from fedbus.errors import SettingsError
from fedbus.frameworks.tflite.admission import Admission
from fedbus.http_api.loopback_hosts import is_loopback
from fedbus.runtime.identity import Identity
from fedbus.runtime.service import Built, Server
from fedbus.runtime.shell import Shell
from fedbus_inference.core import InferenceCore
from fedbus_inference.last_good import LastGood
from fedbus_inference.model_runtimes import runtime_for
from fedbus_inference.prediction_gateway import PredictionGateway
from fedbus_inference.settings import InferenceSettings

if TYPE_CHECKING:
    from fedbus.runtime.http import HttpApi

TRIALS = "tflite-trials"
LAST_GOOD = "last-good"


def build(settings: InferenceSettings, identity: Identity) -> Built:
    """Build an inference service.

    Raises:
        SettingsError: No framework is installed, or others could ask for predictions unasked.
    """
    check_access(settings)
    admission = Admission(settings.home / TRIALS, identity.name)
    runtime = runtime_for(settings.runtime, allowed=settings.plugins, admission=admission)
    core = InferenceCore(runtime, settings, LastGood(settings.home / LAST_GOOD), perf_counter)

    def http_api(shell: Shell) -> "HttpApi":
        # Imports aiohttp and prometheus_client, so only where HTTP is enabled.
        from fedbus_inference.http.inference_api import inference_api  # noqa: PLC0415

        gateway = PredictionGateway(shell, core, settings.max_input_elements)
        return inference_api(gateway, core.stats, settings)

    servers = () if settings.grpc is None else (grpc_server(core, settings, settings.grpc),)
    return Built(core, http_api=http_api, servers=servers, connect=local_connection(settings))


def local_connection(
    settings: InferenceSettings,
) -> Callable[[Shell], Coroutine[None, None, None]] | None:
    """Return what connects the service to the models of a folder; None: it uses the broker.

    Raises:
        SettingsError: There is a folder and a broker, neither of them, or no such folder; or the
            service has no broker and no API.
    """
    folder = settings.models
    if not settings.is_alone:
        if folder is not None:
            raise SettingsError(
                "FEDBUS_MODELS is served without a broker: set FEDBUS_BROKER=none as well, or push "
                "the models to a repository with `fedbus models push`"
            )
        return None
    if folder is None:
        raise SettingsError("FEDBUS_BROKER=none: FEDBUS_MODELS must name the folder of the models")
    if not folder.is_dir():
        raise SettingsError(f"FEDBUS_MODELS: there is no folder {folder}")
    if not can_be_asked(settings):
        raise SettingsError(
            "FEDBUS_BROKER=none, and no API: nothing could ask for a prediction. Set FEDBUS_HTTP "
            "or FEDBUS_GRPC (host:port), with FEDBUS_HTTP_TOKENS_FILE, or on a loopback address "
            "with FEDBUS_HTTP_OPEN=true"
        )
    # Imports what packs models, which a service with a repository does not need.
    from fedbus_inference.standalone.local_bus import serve_without_broker  # noqa: PLC0415

    return partial(serve_without_broker, models=folder)


def can_be_asked(settings: InferenceSettings) -> bool:
    """Return whether HTTP or gRPC answers with predictions, not with metrics alone."""
    has_access = settings.http_open or settings.http_tokens_file is not None
    return has_access and (settings.http is not None or settings.grpc is not None)


def grpc_server(core: InferenceCore, settings: InferenceSettings, address: str) -> Server:
    """Return the gRPC server, which is imported once it is entered."""

    def serve(shell: Shell) -> AbstractAsyncContextManager[None]:
        try:
            from fedbus_inference.grpc_api.grpc_server import serve_grpc  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"FEDBUS_GRPC: {error.name} is not installed; install fedbus-inference[grpc]"
            ) from error
        gateway = PredictionGateway(shell, core, settings.max_input_elements)
        return serve_grpc(gateway, settings, address)

    return serve


def check_access(settings: InferenceSettings) -> None:
    """Check that who may ask for predictions is stated.

    Raises:
        SettingsError: gRPC is on without tokens, or without them other machines could use it.
    """
    addresses = {"FEDBUS_HTTP": settings.http, "FEDBUS_GRPC": settings.grpc}
    if settings.http_tokens_file is not None:
        if settings.http_open:
            raise SettingsError(
                "FEDBUS_HTTP_OPEN=true, but there is FEDBUS_HTTP_TOKENS_FILE; remove one of them"
            )
        return
    if settings.grpc is not None and not settings.http_open:
        raise SettingsError(
            "FEDBUS_GRPC needs FEDBUS_HTTP_TOKENS_FILE, tokens that `fedbus tokens` writes; or "
            "FEDBUS_HTTP_OPEN=true on a loopback address"
        )
    for name, address in addresses.items():
        if settings.http_open and address and not is_loopback(address.rpartition(":")[0]):
            raise SettingsError(
                f"FEDBUS_HTTP_OPEN=true: other machines can reach {name}={address}; listen on a "
                "loopback address (127.0.0.1), or set FEDBUS_HTTP_TOKENS_FILE"
            )
