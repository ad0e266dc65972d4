"""Handlers of the files of versions: their weights, and the files of their architectures."""

import asyncio
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from fedbus.errors import StoreDamagedError
from fedbus.http_api.blob_responses import BlobDownload
from fedbus.http_api.request_parameters import read_query_choice
from fedbus.http_api.responses import ApiError
from fedbus.wire.spec_files import named_files
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.http.found_versions import find_version
from fedbus_repository.http.weight_downloads import WEIGHT_FORMATS, WeightDownloads
from fedbus_repository.stores.base import Store

SHELL_PREFIX: Final = "model_"


@dataclass(frozen=True, slots=True)
class VersionFileHandlers:
    """The handlers of the files of versions."""

    store: Store
    specs: SpecReader
    downloads: WeightDownloads

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Return the weights of a version, in the encoding `plain` or as a file of arrays."""
        form = read_query_choice(request, "format", WEIGHT_FORMATS)
        model, number = request.match_info["name"], request.match_info["version"]
        version = await asyncio.to_thread(find_version, self.store, model, number)
        download = await asyncio.to_thread(self.downloads.download, version, form)
        return await download.send(request)

    async def architecture(self, request: web.Request) -> web.StreamResponse:
        """Return the file of a version's architecture, such as a `.tflite` file."""
        given = request.match_info["file"]
        model, _, number = given.removeprefix(SHELL_PREFIX).rpartition("_")
        if not given.startswith(SHELL_PREFIX) or not model:
            raise ApiError(400, f"expected {SHELL_PREFIX}NAME_VERSION, got {given[:80]!r}")
        digest, name = await asyncio.to_thread(
            self._architecture, model, number, request.query.get("architecture")
        )
        return await self._send(request, digest, name)

    def _architecture(self, model: str, number: str, wanted: str | None) -> tuple[str, str]:
        version = find_version(self.store, model, number)
        spec = self.specs.read(version.spec)
        files = {
            name: named_files([(name, architecture)])[0].digest
            for name, architecture in spec.architectures.items()
            if "blob" in architecture
        }
        if wanted is None and len(files) == 1:
            (wanted,) = files
        if wanted not in files:
            there = ", ".join(sorted(files)) or "none; GET /model/meta has the spec"
            raise ApiError(404, f"?architecture=: model {model} has files for: {there}")
        return files[wanted], f"{model}-{version.version}.{wanted}"

    async def _send(self, request: web.Request, digest: str, filename: str) -> web.StreamResponse:
        source = await asyncio.to_thread(self.store.open_blob, digest)
        if source is None:
            raise StoreDamagedError(
                f"blob {digest[:12]} is missing from the store; restore it from a backup"
            )
        return await BlobDownload(source, digest, filename).send(request)
