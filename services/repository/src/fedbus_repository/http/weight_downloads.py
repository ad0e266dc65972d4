"""Downloads of a version's weights as .npz or .safetensors files, of any size, without a copy.

Such a file consists of ranges of the stored blob and a few bytes between them (`file_views.py`). An
archive has a checksum of each array, so the blob is read once before the first download of one.
"""

from functools import lru_cache
from typing import Final, Literal, get_args

from fedbus.core.blob_io import BlobSource
from fedbus.errors import LayoutError, StoreDamagedError
from fedbus.http_api.blob_responses import BlobDownload
from fedbus.http_api.responses import ApiError
from fedbus.model.blob_header import MAX_BLOB_HEADER_BYTES, check_header
from fedbus.model.file_views import FileView, npz_checksums, npz_parts, safetensors_parts
from fedbus.model.layout import Layout
from fedbus.model.safetensors import version_metadata
from fedbus.wire.blobs import BlobRef
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.records import Version

WeightFormat = Literal["plain", "npz", "safetensors"]
WEIGHT_FORMATS: Final[tuple[WeightFormat, ...]] = get_args(WeightFormat)
MAX_CHECKED_VERSIONS: Final = 64
"""Versions whose checksums are remembered."""


class WeightDownloads:
    """Makes downloads of versions; called in threads."""

    def __init__(self, store: Store, specs: SpecReader) -> None:
        self._store, self._specs = store, specs
        self._checksums = lru_cache(MAX_CHECKED_VERSIONS)(self._compute_checksums)

    def download(self, version: Version, form: WeightFormat) -> BlobDownload:
        """Return the weights of a version in a format.

        Raises:
            ApiError: 404, they are deleted; 409, they are no arrays: they are encrypted, or the
                model only runs.
            StoreDamagedError: They are missing or damaged.
        """
        what, digest = f"{version.model} version {version.version}", version.weights.digest
        if not version.kept:
            raise ApiError(404, f"the weights of {what} are deleted")
        source = self._store.open_blob(digest)
        if source is None:
            raise StoreDamagedError(
                f"the weights of {what} are missing; restore them from a backup"
            )
        name = f"{version.model}-{version.version}"
        if form == "plain":
            return BlobDownload(source, digest, f"{name}.blob")
        if version.encryption is not None:
            raise ApiError(409, f"{what} is encrypted; without `format` its bytes are sent")
        layout = self._layout(version.spec)
        if not layout.tensors:
            raise ApiError(409, f"{what} only runs: GET /models/download/shell has its file")
        try:
            at = _data_offset(source, layout)
        except LayoutError as error:
            raise StoreDamagedError(
                f"the weights of {what} are damaged: {error}; restore them from a backup"
            ) from error
        if form == "npz":
            checksums = self._checksums(version.weights, version.spec, at)
            parts = npz_parts(layout, at, checksums)
        else:
            about = version_metadata(
                version.model, version.version, digest, version.job, version.round
            )
            parts = safetensors_parts(layout, at, about)
        tag = f"{digest}-{version.version}-{form}"
        return BlobDownload(FileView(parts, source.read), tag, f"{name}.{form}")

    def _layout(self, spec: BlobRef) -> Layout:
        return Layout.read(self._specs.read(spec).layout, may_be_empty=True)

    def _compute_checksums(self, weights: BlobRef, spec: BlobRef, at: int) -> tuple[int, ...]:
        source = self._store.open_blob(weights.digest)
        if source is None:
            raise ApiError(404, "the weights were deleted meanwhile")
        return npz_checksums(self._layout(spec), at, source.read)


def _data_offset(source: BlobSource, layout: Layout) -> int:
    head = bytes(source.read(0, min(MAX_BLOB_HEADER_BYTES, source.size)))
    return check_header(head, source.size, layout, "plain").offset
