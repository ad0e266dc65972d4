"""The oracle: is what a repository holds true?

    check_trail(store)               numbers only grow, parents link, each update counts once, blobs
                                     are readable and what their digests say
    check_trail(store, updates)      and each version is its base plus the mean of its updates

Every fault test ends with it. It trusts nobody: it reads the records and the blobs and sums again.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedbus.core.blob_io import BlobSource
from fedbus.digest import digest_of
from fedbus.errors import FedbusError
from fedbus.model.blob import Blob, decode
from fedbus.model.layout import Layout, Tensor
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.round_records import Contributor, RoundRecord

TOLERANCE = 1e-6
"""Relative to the numbers that were summed: |base| + the mean of |delta|."""

_BLOCK = 1024 * 1024

Update: TypeAlias = Blob | NDArray[Any]
"""An agent's delta: its blob, or all numbers that this would hold, in layout order."""


class TrailError(FedbusError):
    """What a repository holds cannot be true; the sentence says where."""


class VersionLike(Protocol):
    """A version, as a store remembers it."""

    @property
    def model(self) -> str: ...  # noqa: D102 - see ModelRef
    @property
    def version(self) -> int: ...  # noqa: D102
    @property
    def parent(self) -> int | None: ...  # noqa: D102
    @property
    def weights(self) -> BlobRef: ...  # noqa: D102
    @property
    def spec(self) -> BlobRef: ...  # noqa: D102
    @property
    def job(self) -> str | None: ...  # noqa: D102
    @property
    def round(self) -> int: ...  # noqa: D102
    @property
    def kept(self) -> bool: ...  # noqa: D102


class RoundLike(Protocol):
    """A version, and the record of the round that made it; none where a person pushed it."""

    @property
    def version(self) -> VersionLike: ...  # noqa: D102
    @property
    def record(self) -> RoundRecord | None: ...  # noqa: D102


class Trail(Protocol):
    """What can be checked: a store at work, or the folder of one that was killed."""

    def history(self) -> Iterable[RoundLike]:
        """Read every version of every model, by model and version."""

    def open_blob(self, digest: str, /) -> BlobSource | None:
        """Find a blob."""


@dataclass(frozen=True, slots=True)
class Checked:
    """How much was found to be true; a test that expects rounds asserts their number."""

    versions: int
    rounds: int
    summed: int


def check_trail(
    trail: Trail,
    updates: Mapping[tuple[str, int], Update] | None = None,
    *,
    job: str | None = None,
) -> Checked:
    """Check all that a repository holds.

    With `updates`, all that agents ever offered by (agent, task), the rounds of the job (of all if
    none is named) are summed again, as far as their weights and their parents' are still kept.

    Raises:
        TrailError: something cannot be true.
    """
    history = list(trail.history())
    for _, line in groupby(history, lambda each: each.version.model):
        _check_line([each.version for each in line])
    rounds = [each for each in history if each.record is not None or each.version.job is not None]
    _check_rounds(rounds)
    for each in history:
        _check_blobs(trail, each.version)
    summed = 0
    if updates is not None:
        by_name = {(each.version.model, each.version.version): each.version for each in history}
        for each in rounds:
            assert each.record is not None  # noqa: S101 - checked above
            parent = by_name[each.record.model, each.record.parent]
            if job in {None, each.record.job} and each.version.kept and parent.kept:
                _check_sum(trail, each, parent, updates)
                summed += 1
    return Checked(versions=len(history), rounds=len(rounds), summed=summed)


def _check_line(versions: list[VersionLike]) -> None:
    """Versions grow by one from 1, each the child of the one before; the last is kept."""
    before: int | None = None
    for each in versions:
        what = f"version {each.version} of model {each.model!r}"
        if each.version != (before or 0) + 1:
            raise TrailError(f"{what} follows version {before}")
        if each.parent != before:
            raise TrailError(f"{what} names {each.parent} as its parent, not {before}")
        before = each.version
    if not versions[-1].kept:
        raise TrailError(f"{what}, the last, has lost its weights")


def _check_rounds(rounds: list[RoundLike]) -> None:
    """A job's rounds grow along its versions, and no update counts twice in it."""
    last: dict[str, int] = {}
    counted: dict[tuple[str, str, int], int] = {}
    for each in rounds:
        version, record = each.version, each.record
        what = f"round {version.round} of job {version.job!r}"
        if record is None or version.job is None:
            raise TrailError(f"{what} has no record, or a record no job")
        stated = (record.job, record.round, record.model, record.parent, record.spec)
        if stated != (version.job, version.round, version.model, version.parent, version.spec):
            raise TrailError(
                f"{what} made version {version.version}, and its record says otherwise"
            )
        if version.round <= last.get(version.job, 0):
            raise TrailError(f"{what} follows round {last[version.job]}")
        last[version.job] = version.round
        for one in record.contributors:
            update = (record.job, one.agent, one.task)
            if update in counted:
                raise TrailError(
                    f"{what} counts {one.agent}'s update for task {one.task},"
                    f" which counted in round {counted[update]}"
                )
            counted[update] = version.round


def _check_blobs(trail: Trail, version: VersionLike) -> None:
    """What is kept can be read and is what it should be; specs and their files always are."""
    what = f"version {version.version} of model {version.model!r}"
    spec = codec.from_json(ModelSpec, _read(trail, version.spec, f"the spec of {what}"))
    for name, architecture in spec.architectures.items():
        if "blob" in architecture:
            _read(trail, BlobRef(**architecture["blob"]), f"the {name} file of {what}")
    if version.kept:
        _weights(trail, version)


def _check_sum(
    trail: Trail,
    each: RoundLike,
    parent: VersionLike,
    updates: Mapping[tuple[str, int], Update],
) -> None:
    """The version is its base plus the float64 mean of its updates' deltas, tensor by tensor."""
    record = each.record
    assert record is not None  # noqa: S101 - the caller has checked
    what = f"round {record.round} of job {record.job!r}"
    layout, committed = _weights(trail, each.version)
    _, base = _weights(trail, parent)
    deltas = [_delta(what, one, updates, layout) for one in record.contributors]
    shares = np.array([one.examples if record.weighted else 1 for one in record.contributors], "f8")
    shares /= shares.sum()
    for tensor in layout.tensors:
        old, new = base[tensor.name], committed[tensor.name]
        if tensor.role == "local":
            _check_local(what, tensor, old, new)
        elif np.dtype(tensor.dtype).kind == "f":
            expected = old.astype("f8")
            scale = np.abs(expected)
            for share, delta in zip(shares, deltas, strict=True):
                expected += share * delta[tensor.name]
                scale += share * np.abs(delta[tensor.name], dtype="f8")
            _check_floats(what, tensor, new, expected, scale)
        else:
            mean = np.zeros(tensor.shape)
            for share, delta in zip(shares, deltas, strict=True):
                mean += share * delta[tensor.name]
            _check_whole(what, tensor, new.astype("i8") - old.astype("i8"), mean)


def _check_local(what: str, tensor: Tensor, old: NDArray[Any], new: NDArray[Any]) -> None:
    if old.tobytes() != new.tobytes():
        raise TrailError(f"{what} changed tensor {tensor.name!r}, which is local to agents")


def _check_floats(
    what: str,
    tensor: Tensor,
    committed: NDArray[Any],
    expected: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> None:
    # Rounded to the nearest of their kind; float16 has none that are nearer to 0 than 6e-8 apart.
    kind = np.finfo(tensor.dtype)
    rounding = max(TOLERANCE, float(kind.eps)) * scale + float(kind.smallest_subnormal)
    error = np.abs(committed.astype("f8") - expected)
    if not (error <= rounding).all():
        raise TrailError(
            f"{what} is not the mean of its updates: tensor {tensor.name!r} is off by"
            f" {error.max():.3g}, where its numbers are about {scale.max():.3g}"
        )


def _check_whole(
    what: str, tensor: Tensor, moved: NDArray[np.int64], mean: NDArray[np.float64]
) -> None:
    """Whole numbers move by the mean of their differences, rounded to the nearest."""
    error = np.abs(moved - mean)
    if not (error <= 0.5 + TOLERANCE * (1 + np.abs(mean))).all():
        raise TrailError(
            f"{what} is not the mean of its updates: tensor {tensor.name!r} is off by"
            f" {error.max():.3g}, where its numbers move by about {np.abs(mean).max():.3g}"
        )


def _delta(
    what: str,
    one: Contributor,
    updates: Mapping[tuple[str, int], Update],
    layout: Layout,
) -> dict[str, NDArray[Any]]:
    update = updates.get((one.agent, one.task))
    if update is None:
        raise TrailError(
            f"{what} counts an update that {one.agent} never made, for task {one.task}"
        )
    if isinstance(update, np.ndarray):
        return dict(_split(update.reshape(-1), layout))
    if digest_of(update) != one.update:
        raise TrailError(f"{what} counts other bytes than {one.agent} made for task {one.task}")
    return decode(update, layout, "delta")


def _split(numbers: NDArray[Any], layout: Layout) -> Iterator[tuple[str, NDArray[Any]]]:
    start = 0
    for tensor in layout.shared:
        yield tensor.name, numbers[start : start + tensor.numbers].reshape(tensor.shape)
        start += tensor.numbers


def _weights(trail: Trail, version: VersionLike) -> tuple[Layout, dict[str, NDArray[Any]]]:
    what = f"version {version.version} of model {version.model!r}"
    spec = codec.from_json(ModelSpec, _read(trail, version.spec, f"the spec of {what}"))
    layout = Layout.read(spec.layout)
    blob = _read(trail, version.weights, f"the weights of {what}")
    return layout, decode(blob, layout, "plain")


def _read(trail: Trail, blob: BlobRef, what: str) -> bytes:
    source = trail.open_blob(blob.digest)
    if source is None:
        raise TrailError(f"{what} cannot be read")
    if source.size != blob.size:
        raise TrailError(f"{what} has {source.size} bytes, not {blob.size}")
    data = b"".join(
        bytes(source.read(at, min(_BLOCK, blob.size - at))) for at in range(0, blob.size, _BLOCK)
    )
    if digest_of(data) != blob.digest:
        raise TrailError(f"{what} holds something else than its digest says")
    return data
