"""Model to be pushed: read from a spec file or made by its author's code, and tried here."""

import sys
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedbus.client.model_factory import is_factory, make_model
from fedbus.client.model_files import is_model_file, read_model_file
from fedbus.client.model_inputs import NO_INPUT_TERMS, InputTerms, complete_input
from fedbus.client.model_outputs import OutputOptions
from fedbus.client.model_rehearsal import rehearse
from fedbus.client.packed_model import PackedModel
from fedbus.client.packing import read_model, read_weights
from fedbus.errors import SettingsError
from fedbus.frameworks.tensorflow_logs import suppressed_logs


def prepare_model(  # noqa: PLR0913 - what may be said of a model
    source: str | Path,
    *,
    weights: str | Path | None = None,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    input_shape: tuple[int, ...] | None = None,
    answers: str | None = None,
    classes: tuple[str, ...] = (),
    local_terms: bool = False,
    inputs: InputTerms | None = None,
) -> PackedModel:
    """Read a spec file, or call a factory, and have the model train one step here.

    A factory's own output goes to standard error.

    Args:
        source: A spec file, JSON; a `.tflite` or `.onnx` file; or `package.module:factory`, code
            that makes a Keras or torch model.
        weights: An .npz or .safetensors file; by default those of the factory's model, or what a
            framework makes that is installed here.
        name: Of the model; that of the spec, or the factory's own, by default.
        config: What to call a factory with.
        input_shape: Of a row that a factory's model takes, where the model does not say it.
        answers: What the model's outputs mean; its loss and last layer say it by default.
        classes: Names of the outputs, in their order.
        local_terms: Whether a factory's .tflite file can be trained with a strategy's terms.
        inputs: What inference does with inputs before the model: preprocessing, and their range.

    Returns:
        The model, with a warning for each framework with which it was not tried.

    Raises:
        SettingsError: it is neither, or the arguments do not go with it.
        FedbusError: the model does not fit the bus, or does not train.
    """
    said = OutputOptions(answers=answers, classes=classes)
    path, own = Path(source), None if weights is None else Path(weights)
    told: list[str] = []
    if is_factory(str(source)) and not path.exists():
        arrays = read_weights(own) if own is not None else None
        with (
            warnings.catch_warnings(record=True) as caught,
            suppressed_logs(),
            redirect_stdout(sys.stderr),
        ):
            made = make_model(str(source), name, config, input_shape, arrays, said, local_terms)
        told += [str(each.message) for each in caught]
    elif is_model_file(path) and not local_terms and config is None and input_shape is None:
        made = read_model_file(path, own, said, name)
    elif local_terms or any(each is not None for each in (config, input_shape)):
        raise SettingsError(
            "a config, the shape of a row and local terms belong to a factory; a spec has "
            "them itself, or its .tflite file has"
        )
    else:
        made = read_model(path, own, said, name)
    made = made.with_spec(complete_input(made.spec(), inputs or NO_INPUT_TERMS))
    told += [*made.warnings, *rehearse(made)]
    return replace(made, warnings=tuple(told))
