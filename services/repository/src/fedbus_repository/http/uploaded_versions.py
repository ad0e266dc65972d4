"""Versions of models that arrive over HTTP: the same checks and the same insert as a push.

Everything here is called in a thread.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from fedbus.core.blob_io import BlobSource
from fedbus.digest import digest_of
from fedbus.errors import LayoutError
from fedbus.http_api.responses import ApiError
from fedbus.model.blob_header import blob_size
from fedbus.model.layout import Layout
from fedbus.model.npz import ZIP_MAGIC, read_blob
from fedbus.text import listed
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import PushModel
from fedbus.wire.spec_files import files_of
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.handlers.pushed_contents import check_statements
from fedbus_repository.handlers.pushes import finish_push, prepare_push, read_spec
from fedbus_repository.handlers.uploads import discard
from fedbus_repository.http.received_files import ReceivedFile, fill_uploads
from fedbus_repository.http.schemas import ModelUpload
from fedbus_repository.stores.base import Store, Upload
from fedbus_repository.stores.records import StoreRefusal, Version

MAX_CONVERTED_BYTES: Final = 2 * 2**30
"""Weights in an .npz file are converted in memory; larger ones are sent in the encoding `plain`."""
FORM_OVERHEAD_BYTES: Final = 1 << 20
"""What a form may have beside its files: names, headers, boundaries."""


@dataclass(frozen=True, slots=True)
class BytesInMemory:
    """A BlobSource of bytes."""

    data: bytearray

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes at an offset."""
        return bytes(self.data[offset : offset + length])


def spec_of(upload: ModelUpload) -> ModelSpec:
    """Return the spec of an upload, checked.

    Raises:
        FedbusError: The layout, a file or a statement of it cannot be used.
    """
    spec = ModelSpec(
        model=upload.model_name,
        layout=upload.layout,
        architectures=upload.architectures,
        input=upload.input,
        answers=upload.answers,
        classes=upload.classes,
        least_batch=upload.least_batch,
    )
    Layout.read(spec.layout)
    files_of(spec)
    check_statements(spec)
    return spec


def largest_upload(spec: ModelSpec) -> int:
    """Return the most bytes of a form with the weights and all files of a spec."""
    weights = blob_size(Layout.read(spec.layout), "plain")
    return weights + sum(file.size for file in files_of(spec)) + FORM_OVERHEAD_BYTES


def missing_files(store: Store, spec: ModelSpec) -> list[BlobRef]:
    """Return the files that a spec names and that the store does not hold."""
    return [file for file in files_of(spec) if not store.holds(file)]


@dataclass(frozen=True, slots=True)
class UploadedVersion:
    """A spec, the weights and the files that were received for it."""

    spec: ModelSpec
    weights: ReceivedFile
    files: Sequence[ReceivedFile] = ()

    def store(self, store: Store, specs: SpecReader, *, reset: bool) -> Version:
        """Insert the version; the store numbers it.

        Raises:
            ApiError: 400, a file is missing, is not of the spec, or cannot be used; 409, the store
                refuses a version of this model now.
            StoreError: The disk is full.
        """
        body = codec.to_json(self.spec)
        weights, source = self._weights()
        sources: dict[str, BlobSource] = {weights.digest: source}
        named = {file.digest for file in files_of(self.spec)}
        for file in self.files:
            found = file.finish()
            if found.digest not in named:
                raise ApiError(
                    400,
                    f"a file of {found.size} bytes with digest {found.digest[:12]}, which the spec "
                    f"does not name; it names {listed(each[:12] for each in named) or 'none'}",
                )
            sources[found.digest] = file
        push = PushModel(
            model=self.spec.model, spec=blob_ref_of(body), weights=weights, reset=reset
        )
        refused = store.check_push(push)
        if isinstance(refused, StoreRefusal):
            raise ApiError(409, refused.reason)
        answer = _push(store, specs, push, body, sources)
        if isinstance(answer, StoreRefusal):
            raise ApiError(400, answer.reason)
        return answer

    def is_content_of(self, version: Version) -> bool:
        """Return whether a version has this spec and these weights."""
        spec, weights = blob_ref_of(codec.to_json(self.spec)), self._weights()[0]
        return (spec, weights) == (version.spec, version.weights)

    def _weights(self) -> tuple[BlobRef, BlobSource]:
        """Return the weights in the encoding `plain`; an .npz file is converted."""
        stated = self.weights.finish()
        if self.weights.read(0, len(ZIP_MAGIC)) != ZIP_MAGIC:
            return stated, self.weights
        layout = Layout.read(self.spec.layout)
        if (size := blob_size(layout, "plain")) > MAX_CONVERTED_BYTES:
            raise ApiError(
                413,
                f"the weights have {size} bytes; more than {MAX_CONVERTED_BYTES} are taken in the "
                "encoding `plain` only, not as an .npz file",
            )
        try:
            blob = read_blob(self.weights.path, layout)
        except (LayoutError, OSError) as error:
            raise ApiError(400, f"the weights: {error}") from error
        return BlobRef(digest=digest_of(blob), size=len(blob)), BytesInMemory(blob)


def _push(
    store: Store,
    specs: SpecReader,
    push: PushModel,
    body: bytes,
    sources: Mapping[str, BlobSource],
) -> Version | StoreRefusal:
    uploads: list[Upload] = []
    try:
        answer = prepare_push(store, specs, push)
        if isinstance(answer, Version | StoreRefusal):
            return answer
        uploads += answer
        for upload in answer:
            upload.write(0, body)
        read = read_spec(store, specs, push, answer)
        if isinstance(read, StoreRefusal):
            return read
        uploads += read.uploads
        if missing := fill_uploads(read.uploads, sources):
            files = listed(f"{blob.size} bytes {blob.digest[:12]}" for blob in missing)
            return StoreRefusal(f"the form lacks files that the spec names: {files}")
        return finish_push(store, specs, push, read, uploads)
    finally:
        with suppress(OSError):
            discard(uploads)
