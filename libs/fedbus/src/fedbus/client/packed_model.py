"""A model as a push sends it: the request, and every blob that it names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fedbus.client.model_file_check import check_files
from fedbus.errors import LayoutError
from fedbus.model.blob import encode
from fedbus.model.layout import Layout, Role
from fedbus.wire import codec
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import PushModel


@dataclass(frozen=True, slots=True)
class PackedModel:
    """A model ready to be pushed.

    Attributes:
        push: The request to the repository.
        blobs: Every blob that the request names, by digest.
        warnings: What the caller should know: a file that was not run, and why.
    """

    push: PushModel
    blobs: Mapping[str, bytes | bytearray]
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The bytes of all blobs."""
        return sum(map(len, self.blobs.values()))

    def spec(self) -> ModelSpec:
        """Read the spec from its blob, as other nodes will."""
        return codec.from_json(ModelSpec, bytes(self.blobs[self.push.spec.digest]))

    def with_classes(self, classes: tuple[str, ...]) -> "PackedModel":
        """Return the model with these names of classes in its spec."""
        return self.with_spec(replace(self.spec(), classes=classes))

    def with_spec(self, changed: ModelSpec) -> "PackedModel":
        """Return the model with another spec."""
        blobs = {name: blob for name, blob in self.blobs.items() if name != self.push.spec.digest}
        spec_blob = codec.to_json(changed)
        spec = blob_ref_of(spec_blob)
        return replace(
            self, push=replace(self.push, spec=spec), blobs={**blobs, spec.digest: spec_blob}
        )


def packed(
    plain: dict[str, Any],
    weights: Mapping[str, np.ndarray[Any, Any]],
    files: Mapping[str, bytes],
    roles: Mapping[str, Role] | None = None,
) -> PackedModel:
    """Pack a spec, its files by digest, and weights, whose layout is taken where it has none."""
    if "layout" not in plain:
        plain["layout"] = [
            {"name": t.name, "shape": t.shape, "dtype": t.dtype, "role": t.role}
            for t in Layout.of(weights, roles).tensors
        ]
    spec = codec.from_json(ModelSpec, json.dumps(plain).encode())
    spec_blob = codec.to_json(spec)
    layout = Layout.read(spec.layout, may_be_empty=True)
    for name, array in weights.items():
        _check_finite(name, array)
    weights_blob = encode(weights, layout)
    warning = check_files(spec.architectures, files, layout)
    blob_refs = {"spec": blob_ref_of(spec_blob), "weights": blob_ref_of(weights_blob)}
    blobs: dict[str, bytes | bytearray] = {
        **files,
        blob_refs["spec"].digest: spec_blob,
        blob_refs["weights"].digest: weights_blob,
    }
    push = PushModel(
        model=spec.model, spec=blob_refs["spec"], weights=blob_refs["weights"], reset=False
    )
    return PackedModel(push, blobs, (warning,) if warning else ())


def _check_finite(name: str, array: np.ndarray[Any, Any]) -> None:
    if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
        odd, count = array[~finite][0], int(array.size - np.count_nonzero(finite))
        raise LayoutError(f"the weights, {name!r}: {count} of its numbers are not finite: {odd}")
