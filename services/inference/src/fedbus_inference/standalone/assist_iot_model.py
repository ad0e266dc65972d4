"""Configuration of an inference component of ASSIST-IoT, read as a model spec.

    model.json                     {"model_name", "model_version", "library", "input_format"}
    format.json                    the format of incoming data
    transformation_pipeline.json   steps before the model (also preprocessing_pipeline.json)
    postprocessing_pipeline.json   steps after it: not supported, so it must be empty
    setup.json                     the gRPC service and the inferencer: this service's own are used

The model's file, `.tflite` or `.onnx`, lies beside them, and says itself which shapes it takes:
`input_format` and `format.json` are not read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fedbus.errors import SettingsError, WireError
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.wire.json_reader import read_json

MODEL_FILE: Final = "model.json"
LIBRARIES: Final = {"tflite": ".tflite", "onnx": ".onnx"}
"""Libraries that a model.json may name, and the suffix of the model's file."""
_PIPELINES: Final = ("transformation_pipeline.json", "preprocessing_pipeline.json")


def is_assist_iot(stated: object) -> bool:
    """Return whether a model.json has ASSIST-IoT's notation."""
    return isinstance(stated, dict) and "library" in stated and "architectures" not in stated


def read_small_json(path: Path) -> Any:  # noqa: ANN401 - any JSON
    """Read a JSON file of at most 1 MiB.

    Raises:
        SettingsError: It cannot be read, is larger, or no JSON.
    """
    try:
        if (size := path.stat().st_size) > MAX_SPEC_BYTES:
            raise SettingsError(f"{path.name}: expected at most {MAX_SPEC_BYTES} bytes, got {size}")
        return read_json(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path.name}: {error.strerror}") from error
    except WireError as error:
        raise SettingsError(f"{path.name}: {error}") from error


def assist_iot_spec(folder: Path, stated: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Return the model's file, and what the configuration says of it as fields of a spec.

    Raises:
        SettingsError: It asks for what this service does not do, or the file is missing.
    """
    library = stated.get("library")
    suffix = LIBRARIES.get(library) if isinstance(library, str) else None
    if suffix is None:
        raise SettingsError(
            f"{MODEL_FILE}: library: expected one of {', '.join(LIBRARIES)}, got {library!r:.60}"
        )
    files = sorted(path for path in folder.iterdir() if path.suffix == suffix)
    if len(files) != 1:
        raise SettingsError(f"expected one {suffix} file beside {MODEL_FILE}, got {len(files)}")
    if _steps(folder / "postprocessing_pipeline.json"):
        raise SettingsError(
            "postprocessing_pipeline.json: steps after the model are not supported; remove them"
        )
    spec: dict[str, Any] = {}
    steps = [step for name in _PIPELINES for step in _steps(folder / name)]
    if steps:
        spec["preprocessing"] = steps
    return files[0], spec


def _steps(path: Path) -> list[Any]:
    found = _optional(path)
    if found is None:
        return []
    if not isinstance(found, list):
        raise SettingsError(f"{path.name}: expected a list of steps")
    return found


def _optional(path: Path) -> Any:  # noqa: ANN401 - any JSON
    return read_small_json(path) if path.exists() else None
