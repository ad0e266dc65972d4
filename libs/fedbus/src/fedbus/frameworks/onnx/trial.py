"""Admission of `.onnx` files: verified, and run once in a child process when they are new here."""

from typing import Final

from fedbus.frameworks.file_admission import FileAdmission
from fedbus.frameworks.file_trial import TrialLimits, run_trial
from fedbus.frameworks.onnx.verify import verify

ONNX: Final = "onnx"
"""The name of the architecture with an `.onnx` file, and of its runtime."""
_CHILD: Final = "fedbus.frameworks.onnx.trial_child"


def admit_onnx(
    admission: FileAdmission, data: bytes | bytearray, limits: TrialLimits | None = None
) -> str:
    """Verify a file, try it if it is new here, and return its digest.

    Raises:
        TrainingError: It is damaged, does not run, or, as a `FileCrash`, ended a process.
        PluginError: onnxruntime is not installed.
    """
    facts = verify(data)
    return admission.decide(
        data,
        ("onnxruntime",),
        lambda: run_trial(_CHILD, ".onnx", bytes(data), facts.bytes, limits),
    )
