"""Wires the inference core to its settings."""

from fedbus.node import Identity
from fedbus.service import Built
from fedbus_inference.core import InferenceCore
from fedbus_inference.runtime import runtime_for
from fedbus_inference.settings import InferenceSettings


def build(settings: InferenceSettings, identity: Identity) -> Built:  # noqa: ARG001 - any name will do
    """Make the core.

    Raises:
        SettingsError: there is no framework here to run models with.
    """
    return Built(InferenceCore(runtime_for(settings.runtime), settings.limits()))
