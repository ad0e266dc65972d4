"""Settings of the inference service come from the environment, and a bad one names its variable."""

import random

import pytest
from aiohttp.test_utils import TestClient, TestServer

from fedbus.errors import SettingsError
from fedbus.runtime.http import make_app
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.settings import settings_from
from fedbus.runtime.shell import Shell
from fedbus_inference.app import build
from fedbus_inference.core import InferenceCore
from fedbus_inference.settings import InferenceSettings


def test_an_empty_environment_gives_the_defaults() -> None:
    """A service without settings runs with the documented limits."""
    assert settings_from({}, InferenceSettings) == InferenceSettings()


def test_the_environment_changes_them() -> None:
    """In units that people think in."""
    given = {
        "FEDBUS_MAX_MODEL_MB": "2",
        "FEDBUS_MAX_INPUT_ELEMENTS": "10",
        "FEDBUS_REQUEST_TIMEOUT_SECONDS": "0.5",
    }
    settings = settings_from(given, InferenceSettings)
    assert settings == InferenceSettings(
        max_model_mb=2, max_input_elements=10, request_timeout_seconds=0.5
    )
    assert settings.max_model_bytes == 2 * 2**20


def test_a_bad_setting_names_its_variable() -> None:
    """The person who set it finds it."""
    with pytest.raises(SettingsError, match="FEDBUS_MAX_INPUT_ELEMENTS"):
        settings_from({"FEDBUS_MAX_INPUT_ELEMENTS": "many"}, InferenceSettings)


def test_the_service_is_built_from_its_settings() -> None:
    """No framework is imported for it."""
    settings = settings_from({"FEDBUS_RUNTIME": "tflite"}, InferenceSettings)
    built = build(settings, IDENTITY)
    assert isinstance(built.core, InferenceCore)


IDENTITY = Identity(name="inference.1", incarnation=1)
ALONE = {
    "broker": "none",
    "http": "127.0.0.1:1",
    "grpc": "127.0.0.1:2",
    "http_open": "true",
    "runtime": "tflite",
}


def refusal(**changed: str) -> str:
    """Build a service without a broker, with some settings changed or removed; return why not."""
    stated = {name: value for name, value in (ALONE | changed).items() if value}
    environ = {f"FEDBUS_{name.upper()}": value for name, value in stated.items()}
    with pytest.raises(SettingsError) as refused:
        build(settings_from(environ, InferenceSettings), IDENTITY)
    return str(refused.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "FEDBUS_BROKER=none: FEDBUS_MODELS must name the folder"),
        ({"models": "/no"}, "FEDBUS_MODELS: there is no folder /no"),
        (
            {"models": "/", "broker": "mqtt://127.0.0.1:1"},
            "FEDBUS_MODELS is served without a broker",
        ),
        ({"models": "/", "http": "", "grpc": ""}, "nothing could ask for a prediction"),
        ({"models": "/", "http_open": "", "grpc": ""}, "nothing could ask for a prediction"),
        ({"http_open": ""}, "FEDBUS_GRPC needs FEDBUS_HTTP_TOKENS_FILE"),
        ({"grpc": "0.0.0.0:50051"}, "other machines can reach FEDBUS_GRPC=0.0.0.0:50051"),
        ({"grpc": "here"}, "FEDBUS_GRPC='here': not host:port"),
        ({"http_tokens_file": "/no"}, "FEDBUS_HTTP_OPEN=true, but there is"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, str], sentence: str
) -> None:
    """Before anything is served; the process prints the sentence and ends with exit code 2."""
    assert sentence in refusal(**settings)


async def test_without_tokens_predictions_are_off() -> None:
    """Unless the owner opens them; metrics stay."""
    settings = InferenceSettings(http="127.0.0.1:1", runtime="tflite")
    built = build(settings, IDENTITY)
    assert built.http_api is not None
    shell = Shell(Node(IDENTITY, built.core, random.Random(1)), threads=1)
    async with TestClient(TestServer(make_app(shell, built.http_api(shell)))) as client:
        refused = await client.post("/v1/models/digits:predict", data=b"{}")
        assert (refused.status, "FEDBUS_HTTP_TOKENS_FILE" in await refused.text()) == (404, True)
        assert (await client.get("/metrics")).status == 200
    shell.close()
