"""Check of a model's `.tflite` or `.onnx` file before it is pushed or simulated."""

from collections.abc import Callable, Mapping
from typing import Any

from fedbus.errors import PluginError, TrainingError
from fedbus.frameworks.onnx.trial import ONNX, admit_onnx
from fedbus.frameworks.tflite.admission import TFLITE, Admission
from fedbus.model.layout import Layout


def check_files(
    architectures: Mapping[str, Any], files: Mapping[str, bytes], layout: Layout | None = None
) -> str:
    """Verify the files of a model, and run each once in a child process.

    Args:
        architectures: Of the model's spec, with blob refs as `blob`.
        files: Contents of files, by digest.
        layout: Of the model's spec, once it is known; empty for a model that only runs.

    Raises:
        TrainingError: a file is damaged, does not run, does not train, or does not fit the layout.

    Returns:
        A warning where no runtime is installed, so that a file did not run; empty otherwise.
    """
    admission = Admission()
    admits: dict[str, Callable[[bytes], str]] = {
        TFLITE: lambda file: admission.admit(file, layout),
        ONNX: lambda file: admit_onnx(admission, file),
    }
    for name, admit in admits.items():
        match architectures.get(name):
            case {"blob": {"digest": str(digest)}}:
                pass
            case _:
                continue
        try:
            admit(files[digest])
        except TrainingError as error:
            raise TrainingError(f"architectures.{name}.blob: {error}") from error
        except PluginError as error:
            return f"the .{name} file is whole, and was not run here: {error}"
    return ""
