"""What a model's spec names besides itself. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fedbus.errors import WireError
from fedbus.limits import MAX_SPEC_FILE_BYTES
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec


def files_of(spec: ModelSpec) -> tuple[BlobRef, ...]:
    """Name the files a spec's architectures need: each `{"blob": blob_ref}`.

    Raises:
        WireError: one of them is no blob_ref, or too large.
    """
    return named_files(spec.architectures.items())


def named_files(architectures: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[BlobRef, ...]:
    """Name the files of some architectures, given as (framework, architecture), once each.

    Raises:
        WireError: as `files_of`.
    """
    found = []
    for name, architecture in architectures:
        if "blob" in architecture:
            try:
                stated = json.dumps(architecture["blob"]).encode()
                found.append(codec.from_json(BlobRef, stated))
            except WireError as error:
                raise WireError(f"architectures.{name}.blob: {error}") from error
    if (largest := max((file.size for file in found), default=0)) > MAX_SPEC_FILE_BYTES:
        raise WireError(
            f"a spec that names a file of {largest} bytes, at most {MAX_SPEC_FILE_BYTES}"
        )
    return tuple(dict.fromkeys(found))
