"""Uploads of a request, reserved or discarded together. Called in threads."""

from collections.abc import Sequence
from contextlib import suppress

from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.base import Store, Upload


def reserve(store: Store, blobs: Sequence[BlobRef]) -> Sequence[Upload]:
    """Reserve space for all blobs that the store does not hold, or raise StoreError."""
    uploads: list[Upload] = []
    try:
        uploads.extend(store.upload(blob) for blob in dict.fromkeys(blobs) if not store.holds(blob))
    except BaseException:
        discard(uploads)
        raise
    return uploads


def discard(uploads: Sequence[Upload]) -> None:
    """Delete the uploads that are not kept."""
    for upload in uploads:
        with suppress(OSError):
            upload.discard()
