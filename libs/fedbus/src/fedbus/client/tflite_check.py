"""Check of a model's `.tflite` file before it is pushed or simulated."""

from collections.abc import Mapping
from typing import Any

from fedbus.errors import PluginError, TrainingError
from fedbus.frameworks.tflite.admission import TFLITE, Admission
from fedbus.model.layout import Layout


def check_files(
    architectures: Mapping[str, Any], files: Mapping[str, bytes], layout: Layout | None = None
) -> str:
    """Verify the `.tflite` file of a model, and run it once in a child process.

    Args:
        architectures: Of the model's spec, with blob refs as `blob`.
        files: Contents of files, by digest.
        layout: Of the model's spec, once it is known.

    Raises:
        TrainingError: the file is damaged, does not run, does not train, or does not fit the
            layout.

    Returns:
        A warning where no TFLite runtime is installed, so that the file did not run; empty
        otherwise.
    """
    match architectures.get(TFLITE):
        case {"blob": {"digest": str(digest)}}:
            pass
        case _:
            return ""
    try:
        Admission().admit(files[digest], layout)
    except TrainingError as error:
        raise TrainingError(f"architectures.{TFLITE}.blob: {error}") from error
    except PluginError as error:
        return f"the .tflite file is whole, and was not run here: {error}"
    return ""
