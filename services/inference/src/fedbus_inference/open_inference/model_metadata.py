"""Metadata of the Open Inference Protocol: the server, and inputs and outputs of models. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fedbus.wire.version_choice import MAX_VERSION_DIGITS
from fedbus_inference.open_inference.datatypes import datatype_of
from fedbus_inference.served_version import ServedVersion
from fedbus_inference.serving_status import ModelStatus

SERVER_NAME: Final = "fedbus-inference"
EXTENSIONS: Final = ("binary_tensor_data",)
PLATFORM: Final = "fedbus"
_ANY_LENGTH: Final = -1


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """An input or output of a batch; -1 stands for any length, first that of the batch."""

    name: str
    datatype: str
    shape: Sequence[int]


@dataclass(frozen=True, slots=True)
class ServedMetadata:
    """What the protocol says of a model: its loaded versions, inputs and outputs."""

    name: str
    versions: Sequence[str]
    platform: str
    inputs: Sequence[TensorMetadata]
    outputs: Sequence[TensorMetadata]


def model_metadata(status: ModelStatus, served: ServedVersion) -> ServedMetadata:
    """Return the metadata of a model, with inputs and outputs of one of its versions."""
    versions = [str(each.version) for each in status.versions if each.ready]
    inputs = [
        TensorMetadata(name, datatype_of(spec.dtype), [_ANY_LENGTH, *(spec.shape or ())])
        for name, spec in served.inputs.items()
    ]
    outputs = [
        TensorMetadata(name, datatype_of(spec.dtype), [_ANY_LENGTH, *spec.shape])
        for name, spec in served.outputs.items()
    ]
    return ServedMetadata(status.model, versions, PLATFORM, inputs, outputs)


def chosen_version(status: ModelStatus, choice: str) -> ServedVersion | None:
    """Return the loaded version that a choice means, the default one for ""; None: not loaded.

    A choice is a number or an alias.
    """
    number = status.aliases.get(choice)
    if not choice:
        number = status.default
    elif choice.isascii() and choice.isdigit() and len(choice) <= MAX_VERSION_DIGITS:
        number = int(choice)
    found = None if number is None else status.version(number)
    return None if found is None else found.served


def all_ready(statuses: Sequence[ModelStatus]) -> bool:
    """Return whether each model has a version that answers."""
    return all(status.ready for status in statuses)
