"""Files of a model that a person pushes or simulates: verified and tried on this machine first."""

from collections.abc import Mapping
from typing import Any

from fedbus.errors import PluginError, TrainingError
from fedbus.frameworks.tflite.admission import TFLITE, Admission
from fedbus.model.layout import Layout


def check_files(
    architectures: Mapping[str, Any], files: Mapping[str, bytes], layout: Layout | None = None
) -> str:
    """Verify the `.tflite` file of a model, and run it once in a child process.

    Returns:
        A warning where no TFLite runtime is installed, so that the file was verified only; empty
        otherwise.

    Args:
        architectures: The spec's, with blob_refs as `blob`.
        files: By digest.
        layout: The spec's, once it is known.

    Raises:
        TrainingError: it is damaged, does not run, does not train, or does not fit the layout.
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
