"""Entry point of the inference service: settings to core."""

from time import perf_counter
from typing import TYPE_CHECKING

from fedbus.frameworks.tflite.admission import Admission
from fedbus.runtime.identity import Identity
from fedbus.runtime.service import Built
from fedbus.runtime.shell import Shell
from fedbus_inference.core import InferenceCore
from fedbus_inference.last_good import LastGood
from fedbus_inference.model_runtimes import runtime_for
from fedbus_inference.settings import InferenceSettings

if TYPE_CHECKING:
    from fedbus.runtime.http import HttpApi

TRIALS = "tflite-trials"
LAST_GOOD = "last-good"


def build(settings: InferenceSettings, identity: Identity) -> Built:
    """Build an inference service; raise SettingsError if no framework is installed."""
    admission = Admission(settings.home / TRIALS, identity.name)
    runtime = runtime_for(settings.runtime, allowed=settings.plugins, admission=admission)
    core = InferenceCore(runtime, settings, LastGood(settings.home / LAST_GOOD), perf_counter)

    def http_api(_: Shell) -> "HttpApi":
        # Imports prometheus_client, so only where HTTP is enabled.
        from fedbus.runtime.http import HttpApi  # noqa: PLC0415
        from fedbus_inference.metrics import InferenceMetrics  # noqa: PLC0415

        return HttpApi(collectors=(InferenceMetrics(core.stats),))

    return Built(core, http_api=http_api)
