"""Script that measures a workload with codecarbon 3.3.2, and by processor time.

python make_codecarbon_figures.py > codecarbon_figures.json

codecarbon's constant mode multiplies half of `force_cpu_power` by the time that has passed, however
busy the processor is. The workload keeps one core busy all that time (run it on an idle machine, or
with `chrt -f 10` before it), so the processor time times the same watts is the same energy.
"""

import json
import resource
import sys
import time
from importlib.metadata import version
from unittest.mock import patch

from codecarbon import OfflineEmissionsTracker  # type: ignore[import-not-found]
from codecarbon.core import cpu  # type: ignore[import-not-found]
from codecarbon.external.hardware import CPU  # type: ignore[import-not-found]

WATTS = 24.0
COUNTRIES = ("DEU", "FRA", "POL", "USA")
SECONDS = 2.0


def processor_seconds() -> float:
    """Return the processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def busy(seconds: float) -> None:
    """Keep one core busy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(number * number for number in range(20_000))


def measured(country: str) -> dict[str, object]:
    """Measure the workload in a country."""
    tracker = OfflineEmissionsTracker(
        country_iso_code=country,
        force_cpu_power=WATTS,
        force_ram_power=1e-9,
        gpu_ids=[],
        save_to_file=False,
        log_level="error",
        measure_power_secs=1,
        allow_multiple_runs=True,
    )
    with (
        patch.object(cpu, "is_psutil_available", lambda: False),
        patch.object(cpu, "is_rapl_available", lambda: False),
    ):
        tracker.start()
    hardware = tracker._hardware  # noqa: SLF001 - there is no public name
    modes = [each._mode for each in hardware if isinstance(each, CPU)]  # noqa: SLF001 - as above
    if modes != ["constant"]:
        raise SystemExit(f"codecarbon measures with {modes}, not with constant power")
    began = processor_seconds()
    busy(SECONDS)
    seconds = processor_seconds() - began
    kilograms = tracker.stop()
    data = tracker.final_emissions_data
    return {
        "country": country,
        "processor_seconds": seconds,
        "watts": WATTS / 2,
        "joules": data.cpu_energy * 3.6e6,
        "grams": kilograms * 1000,
    }


json.dump(
    {"codecarbon": version("codecarbon"), "measured": [measured(each) for each in COUNTRIES]},
    sys.stdout,
    indent=1,
)
