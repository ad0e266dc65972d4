"""Weights and files of a version, received from a form or a body straight into the store.

Each is written once. The space of what is still to come is reserved before it is received, and no
other caller sees a blob before the version is checked. An .npz file is the exception: it is
received whole and then converted, so its space and that of the converted weights are needed.
"""

import asyncio
import io
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from fedbus.blobs.source_file import SourceFile
from fedbus.core.blob_io import BlobSink
from fedbus.errors import LayoutError
from fedbus.http_api.blob_uploads import write_blocks
from fedbus.http_api.request_bodies import body_blocks, checked_length, form_files, part_blocks
from fedbus.http_api.responses import ApiError
from fedbus.model.blob import encode
from fedbus.model.blob_header import blob_size
from fedbus.model.layout import Layout
from fedbus.model.npz import ZIP_MAGIC, read_blob
from fedbus.wire.documents import ModelSpec
from fedbus.wire.spec_files import files_of
from fedbus_repository.handlers.uploads import discard
from fedbus_repository.http.uploaded_versions import UploadedVersion
from fedbus_repository.stores.base import Store, Upload

WEIGHTS: Final = "weights"
MAX_CONVERTED_BYTES: Final = 2 * 2**30
"""Weights in an .npz file are converted in memory; larger ones are sent in the encoding `plain`."""
FORM_OVERHEAD_BYTES: Final = 1 << 20
"""What a form may have beside its files: names, headers, boundaries."""


@asynccontextmanager
async def received_version(
    request: web.Request, store: Store, spec: ModelSpec
) -> AsyncIterator[UploadedVersion]:
    """Receive a form with weights and files, or weights alone as the body.

    A model that only runs has no tensors: its form may leave out `weights`.

    What was not made part of a version when the block ends is deleted.

    Raises:
        ApiError: 400, the form is not one of this spec, or it broke off; 408, the client stalled;
            411 or 413, the length.
        StoreError: There is too little space.
    """
    length = checked_length(request, largest_upload(spec))
    receiver = VersionReceiver(store, spec, length)
    try:
        await asyncio.to_thread(receiver.reserve)
        yield await receiver.receive(request)
    finally:
        await asyncio.to_thread(discard, receiver.uploads)


def largest_upload(spec: ModelSpec) -> int:
    """Return the most bytes of a form with the weights and all files of a spec."""
    weights = blob_size(Layout.read(spec.layout, may_be_empty=True), "plain")
    return weights + sum(file.size for file in files_of(spec)) + FORM_OVERHEAD_BYTES


class VersionReceiver:
    """Receives the parts of one request, whose body has `length` bytes.

    Attributes:
        uploads: All that were begun, for the caller to discard.
    """

    def __init__(self, store: Store, spec: ModelSpec, length: int) -> None:
        self.uploads: list[Upload] = []
        self._store, self._spec = store, spec
        self._left = length
        self._reserved: Upload | None = None

    def reserve(self) -> None:
        """Reserve the space of all that is to come, if that is not done. Called in a thread."""
        if self._reserved is None:
            self._reserved = self._store.receive(self._left)
            self.uploads.append(self._reserved)

    async def receive(self, request: web.Request) -> UploadedVersion:
        """Receive the body of the request."""
        if request.content_type != "multipart/form-data":
            content_digest = request.headers.get("Content-Digest")
            weights = await self._receive_weights(body_blocks(request), content_digest)
            return UploadedVersion(self._spec, weights)
        given: Upload | None = None
        files: list[Upload] = []
        most = 1 + max(1, len(files_of(self._spec)))  # each is open until the version is stored
        async for part in form_files(request):
            if len(files) + (given is not None) >= most:
                raise ApiError(400, f"more than {most} files in the form; the spec names fewer")
            if part.name != WEIGHTS:
                files.append(await self._receive_file(part_blocks(part)))
            elif given is None:
                given = await self._receive_weights(part_blocks(part))
            else:
                raise ApiError(400, "expected one file `weights` in the form, got two")
        if given is None and not self._spec.layout:
            given = await asyncio.to_thread(self._write_no_weights)
        if given is None:
            raise ApiError(400, "the form has no file `weights`: curl -F weights=@weights.npz")
        return UploadedVersion(self._spec, given, files)

    async def _receive_file(self, blocks: AsyncIterable[bytes]) -> Upload:
        upload = await asyncio.to_thread(self._take_reserved)
        await self._write(blocks, upload, upload)
        return upload

    async def _receive_weights(
        self, blocks: AsyncIterable[bytes], content_digest: str | None = None
    ) -> Upload:
        """Return the weights in the encoding `plain`."""
        upload = await asyncio.to_thread(self._take_reserved)
        sink = _WeightsSink(self._store, upload, self._spec, self.uploads)
        await self._write(blocks, sink, upload, content_digest)
        return await asyncio.to_thread(sink.finish)

    def _write_no_weights(self) -> Upload:
        """Return the blob of a layout without tensors. Called in a thread."""
        blob = encode({}, Layout((), may_be_empty=True))
        upload = self._store.receive(len(blob))
        self.uploads.append(upload)
        upload.write(0, memoryview(blob))
        upload.finish()
        return upload

    async def _write(
        self,
        blocks: AsyncIterable[bytes],
        sink: BlobSink,
        upload: Upload,
        content_digest: str | None = None,
    ) -> None:
        self._left = max(0, self._left - await write_blocks(blocks, sink, content_digest))
        await asyncio.to_thread(upload.finish)

    def _take_reserved(self) -> Upload:
        self.reserve()
        taken, self._reserved = self._reserved, None
        assert taken is not None  # noqa: S101 - it was reserved
        return taken


class _WeightsSink:
    """Writes weights to an upload; of an .npz file it reserves the converted weights as well.

    All methods are called in threads. The first write has a file's first MiB, or all of it.
    """

    def __init__(
        self, store: Store, upload: Upload, spec: ModelSpec, uploads: list[Upload]
    ) -> None:
        self._store, self._upload, self._uploads = store, upload, uploads
        self._layout = Layout.read(spec.layout, may_be_empty=True)
        self._converted: Upload | None = None

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes; raise ApiError 413 for an .npz file that is too large to be converted."""
        if offset == 0 and bytes(data[: len(ZIP_MAGIC)]) == ZIP_MAGIC:
            self._converted = self._reserve_converted()
        self._upload.write(offset, data)

    def _reserve_converted(self) -> Upload:
        if (size := blob_size(self._layout, "plain")) > MAX_CONVERTED_BYTES:
            raise ApiError(
                413,
                f"the weights have {size} bytes; more than {MAX_CONVERTED_BYTES} are taken in the "
                "encoding `plain` only, not as an .npz file",
            )
        upload = self._store.receive(size)
        self._uploads.append(upload)
        return upload

    def finish(self) -> Upload:
        """Return the upload of the weights in the encoding `plain`; an .npz file is converted."""
        if self._converted is None:
            return self._upload
        source = SourceFile(self._upload.read, self._upload.blob_ref.size)
        try:
            with io.BufferedReader(source) as file:
                blob = read_blob(file, self._layout)
        except LayoutError as error:
            raise ApiError(400, f"the weights: {error}") from error
        self._upload.discard()
        self._converted.write(0, memoryview(blob))
        self._converted.finish()
        return self._converted
