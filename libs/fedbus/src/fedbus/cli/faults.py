"""A job file that is refused: its faults in a sentence for people, as JSON for programs."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from fedbus.wire.jobfile import Fault


def sentence(who: str, faults: Iterable[Mapping[str, Any]]) -> str:
    """Write every fault on a line of its own, below a line that says who found them."""
    lines = [
        f"  {fault['key'] or 'the file'}: {fault['problem']}"
        + (f" ({fault['hint']})" if fault.get("hint") else "")
        for fault in faults
    ]
    count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
    return "\n".join([f"{who}, {count}:", *lines])


def plain(faults: Iterable[Fault]) -> list[dict[str, str]]:
    """Write faults that were found here as the controller writes those that it finds."""
    return [asdict(fault) for fault in faults]


def answer(faults: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Make what the controller answers to a file that it refuses."""
    return {"accepted": False, "job": "", "faults": list(faults)}
