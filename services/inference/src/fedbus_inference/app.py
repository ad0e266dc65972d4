"""Wires the inference core to its settings."""

from typing import TYPE_CHECKING

from fedbus.node import Identity
from fedbus.service import Built
from fedbus.shell import Shell
from fedbus_inference.core import InferenceCore
from fedbus_inference.runtime import runtime_for
from fedbus_inference.settings import InferenceSettings

if TYPE_CHECKING:
    from fedbus.http import Doors


def build(settings: InferenceSettings, identity: Identity) -> Built:  # noqa: ARG001 - any name will do
    """Make the core.

    Raises:
        SettingsError: there is no framework here to run models with.
    """
    core = InferenceCore(runtime_for(settings.runtime, allowed=settings.plugins), settings.limits())

    def own_doors(_: Shell) -> "Doors":
        # prometheus_client only where a door is open
        from fedbus.http import Doors  # noqa: PLC0415
        from fedbus_inference.metrics import InferenceMetrics  # noqa: PLC0415

        return Doors(collectors=(InferenceMetrics(core.counts),))

    return Built(core, doors=own_doors)
