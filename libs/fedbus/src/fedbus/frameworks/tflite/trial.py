"""Trial run of a `.tflite` file in a child process, before this process opens it.

The child (`trial_child.py`) runs every signature once on zeros.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from fedbus.frameworks.file_trial import TrialLimits, run_trial
from fedbus.frameworks.tflite.signatures import TfliteFacts

_CHILD: Final = "fedbus.frameworks.tflite.trial_child"

Trial: TypeAlias = Callable[[bytes, TfliteFacts], None]
"""Runs a verified file; raises the errors of `try_file`."""


def try_file(data: bytes, facts: TfliteFacts, limits: TrialLimits | None = None) -> None:
    """Run every signature of a verified file once, in a child; raise as `run_trial` does."""
    run_trial(_CHILD, ".tflite", data, facts.bytes, limits)
