"""Check of thin blobs: the weights of a version, as near as its steps allow."""

from collections.abc import Mapping, Sequence

import numpy as np

from fedbus import compression
from fedbus.compression.round_chance import round_rng
from fedbus.digest import digest_of
from fedbus.errors import FedbusError
from fedbus.model.blob import decode
from fedbus.model.layout import Array, Layout, Tensor
from fedbus.model.sections import trained_tensors
from fedbus.simulation.stored_records import RecordsError, StoredRecords, read_blob
from fedbus.training.params import PluginChoice
from fedbus.wire.round_records import RoundRecord

_LEVELS: Mapping[object, int] = {8: 127, 4: 7}
"""The greatest multiple of a scale, by the bits of a number."""


def check_thin(
    store: StoredRecords, record: RoundRecord, layout: Layout, weights: Mapping[str, Array]
) -> None:
    """Raise RecordsError unless a round has the thin blob of its version that its job asks for."""
    what = f"the thin blob of round {record.round} of job {record.job!r}"
    thin, steps = record.thin, record.strategy.download
    if (() if thin is None else thin.compression) != steps:
        raise RecordsError(f"{what} is made by other steps than its strategy's")
    if thin is None:
        return
    content = read_blob(store, thin.blob, what)
    try:
        plain = compression.decode(content, layout, steps, content="plain")
    except FedbusError as error:
        raise RecordsError(f"{what}: {error}") from error
    read = decode(plain, layout, "plain")
    trained = {tensor.name for tensor in trained_tensors(layout)}
    largest = max(float(np.abs(weights[name]).max(initial=0)) for name in trained)
    for tensor in layout.tensors:
        given, found = weights[tensor.name], read[tensor.name]
        if tensor.name not in trained:
            if given.tobytes() != found.tobytes():
                raise RecordsError(f"{what} changes tensor {tensor.name!r}, which is not trained")
            continue
        distance = np.abs(found.astype("f8") - given)
        if not (distance <= _greatest_error(tensor, given, steps, largest)).all():
            raise RecordsError(f"{what} is too far from tensor {tensor.name!r}")
    rng = round_rng("download", record.job, record.round, record.task)
    again = compression.encode(weights, layout, steps, rng, content="plain")
    if digest_of(again) != thin.blob.digest:
        raise RecordsError(f"{what} has other bytes when its task is repeated")


def _greatest_error(
    tensor: Tensor, given: Array, steps: Sequence[PluginChoice], largest: float
) -> Array:
    """Return by how much each number may differ; a scale belongs to numbers up to `largest`."""
    error = np.abs(given).astype("f8") * 2.0 * float(np.finfo(tensor.dtype).eps)
    for step in steps:
        if step.id == "quantize":
            error += 1.001 * largest / _LEVELS[step.parameters.get("bits", 8)]
        elif step.id == "cast":
            error += np.abs(given) * 2.0**-11 + 2.0**-25
    return error
