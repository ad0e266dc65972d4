"""A model of a local file or folder, loaded in the calling process: `fedbus infer --local`."""

import re
from pathlib import Path
from typing import Any

from fedbus.errors import TrainingError
from fedbus.frameworks.tflite.admission import Admission
from fedbus.wire.documents import ModelLatest, ModelSpec
from fedbus_inference.batch_prediction import PredictionFailure, predict_batch
from fedbus_inference.inputs import parse_inputs
from fedbus_inference.loading import load_version, open_spec
from fedbus_inference.model_runtimes import runtime_for
from fedbus_inference.settings import InferenceSettings
from fedbus_inference.standalone.packed_versions import pack_local_model

MAX_LOCAL_ELEMENTS = 2**30
_VERSION = re.compile(r"[1-9]\d{0,8}")


class LocalModel:
    """A loaded model that answers as the inference service does.

    Attributes:
        spec: The model's spec.
        warnings: What the caller should know of the model.

    Raises:
        SettingsError: There is no model, or no framework here runs one.
        FedbusError: A file is damaged, or the parts of the model do not fit together.
    """

    def __init__(self, path: Path) -> None:
        version, place = newest_version(path)
        packed = pack_local_model(place)
        push, blobs = packed.push, packed.blobs
        runtime = runtime_for("auto", admission=Admission())
        opened = open_spec(blobs[push.spec.digest], push.spec, runtime, InferenceSettings())
        latest = ModelLatest(
            model=push.model,
            version=version,
            digest=push.weights.digest,
            size=push.weights.size,
            spec=push.spec,
            source="repository.local",
            metrics={},
            parent=None,
            job=None,
            round=0,
        )
        file = None if opened.blob is None else blobs[opened.blob.digest]
        weights = blobs[push.weights.digest]
        self._served = load_version(opened, latest, file, weights, runtime.load)
        self.spec: ModelSpec = opened.spec
        self.warnings = packed.warnings

    def answer(self, inputs: object) -> dict[str, Any]:
        """Return the answer to a request's `inputs`: nested lists, raw arrays, or a map of them.

        Raises:
            WireError: They are not what the model takes.
            TrainingError: The model cannot answer.
        """
        parsed = parse_inputs(inputs, self._served.inputs, MAX_LOCAL_ELEMENTS)
        (found,) = predict_batch(self._served, [parsed], MAX_LOCAL_ELEMENTS)
        if isinstance(found, PredictionFailure):
            raise TrainingError(found.sentence)
        return found.to_answer(as_raw=False)


def newest_version(path: Path) -> tuple[int, Path]:
    """Return the number and the folder of the newest version; (1, path) without such folders."""
    inner = path.iterdir() if path.is_dir() else ()
    numbered = [each for each in inner if each.is_dir() and _VERSION.fullmatch(each.name)]
    newest = max(numbered, key=lambda each: int(each.name), default=None)
    return (1, path) if newest is None else (int(newest.name), newest)
