"""Responses with the bytes of a blob: streamed from threads, whole or one range (RFC 9110).

The next block is read while the last one is sent, and no block is read that the connection does
not take: memory per download is two blocks, for any size of blob.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from fedbus.core.blob_io import BlobSource
from fedbus.errors import FedbusError, StoreDamagedError
from fedbus.http_api.byte_ranges import BytePart, Selection, names_etag, range_applies, select_bytes
from fedbus.http_api.responses import ApiError
from fedbus.runtime.small_structlog import structlog

log = structlog.get_logger()

DOWNLOAD_BLOCK_BYTES: Final = 512 * 1024
STALLED_READER_SECONDS: Final = 60.0
"""A client that takes nothing for this long loses its connection."""
BINARY: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class BlobDownload:
    """A blob and how it is offered.

    Attributes:
        source: The bytes; read in threads.
        digest: What they are known by, which is the strong entity tag: their BLAKE3 digest, or of
            a file that is made of a blob, that of the blob with what the file depends on.
        filename: The name that a client saves it under.
    """

    source: BlobSource
    digest: str
    filename: str
    content_type: str = BINARY

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Answer a GET or HEAD request, with 200, 206 or 304.

        Raises:
            ApiError: 416, the range begins beyond the end, or 412, If-Match names other bytes.
            StoreError: The first bytes cannot be read. Where later ones cannot, and where a client
                stalls, the connection ends early: a second response would be taken for content.
        """
        etag = f'"{self.digest}"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes"}
        if_match = request.headers.get("If-Match")
        if if_match is not None and not names_etag(if_match, etag, weak=False):
            raise ApiError(412, f"the blob has the tag {etag}", ETag=etag)
        if names_etag(request.headers.get("If-None-Match"), etag, weak=True):
            return web.Response(status=304, headers=headers)
        part = self._part(request, etag)
        headers |= {
            "Content-Disposition": f'attachment; filename="{self.filename}"',
            "X-Content-Type-Options": "nosniff",
        }
        size = self.source.size
        if part is None:
            part, status = BytePart(0, size), 200
        else:
            status = 206
            headers["Content-Range"] = part.content_range(size)
        response = web.StreamResponse(status=status, headers=headers)
        response.content_type = self.content_type
        response.content_length = part.end - part.start
        if request.method == "HEAD":
            part = BytePart(part.start, part.start)
        ahead = self._read_ahead(part.start, part.end)
        await ahead  # so that an error of the disk or the database is a response of its own
        await response.prepare(request)
        try:
            await self._stream(response, part, ahead)
            await response.write_eof()
        except ConnectionError:
            raise  # the client has gone, and is counted as such
        except (FedbusError, OSError) as error:
            log.warning("http_download_broke_off", path=request.path[:200], reason=str(error))
            if request.transport is not None:
                request.transport.abort()
        return response

    def _part(self, request: web.Request, etag: str) -> BytePart | None:
        if not range_applies(request.headers.get("If-Range"), etag):
            return None
        size = self.source.size
        match select_bytes(request.headers.get("Range"), size):
            case BytePart() as part:
                return part
            case Selection.BEYOND:
                raise ApiError(
                    416,
                    f"the range begins beyond the end: the blob has {size} bytes",
                    Content_Range=f"bytes */{size}",
                    Accept_Ranges="bytes",
                )
        return None

    async def _stream(
        self, response: web.StreamResponse, part: BytePart, ahead: "asyncio.Future[bytes]"
    ) -> None:
        """Send the bytes; an error of the disk or a client that stalls ends the connection."""
        at = part.start
        try:
            while at < part.end:
                block = await ahead
                at += len(block)
                ahead = self._read_ahead(at, part.end)
                async with asyncio.timeout(STALLED_READER_SECONDS):
                    await response.write(block)
        finally:
            if not ahead.done():
                ahead.cancel()

    def _read_ahead(self, at: int, end: int) -> "asyncio.Future[bytes]":
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(None, self._read, at, min(DOWNLOAD_BLOCK_BYTES, end - at))

    def _read(self, at: int, length: int) -> bytes:
        if not length:
            return b""
        view = self.source.read(at, length)
        block = bytes(view)
        if isinstance(view, memoryview):
            view.release()
        if len(block) != length:
            raise StoreDamagedError(
                f"blob {self.digest[:12]} has {len(block)} bytes at {at}, not {length}; restore it"
                " from a backup, or push the same content again"
            )
        return block
