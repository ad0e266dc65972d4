"""Settings of the inference service come from the environment, and a bad one names its variable."""

import pytest

from fedbus.errors import SettingsError
from fedbus.runtime.identity import Identity
from fedbus.runtime.settings import settings_from
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
    built = build(settings, Identity(name="inference.1", incarnation=1))
    assert isinstance(built.core, InferenceCore)
