"""Files that a model's spec refers to. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fedbus.errors import WireError
from fedbus.limits import MAX_SPEC_FILE_BYTES
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec


def files_of(spec: ModelSpec) -> tuple[BlobRef, ...]:
    """Return the files that a spec's architectures refer to as `{"blob": blob_ref}`.

    Raises:
        WireError: a reference is not a blob ref, or a file is too large.
    """
    return named_files(spec.architectures.items())


def named_files(architectures: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[BlobRef, ...]:
    """Return the files of architectures given as (framework, architecture), each once.

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
            f"architectures: expected files of at most {MAX_SPEC_FILE_BYTES} bytes, got {largest}"
        )
    return tuple(dict.fromkeys(found))
