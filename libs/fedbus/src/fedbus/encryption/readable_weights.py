"""Readable weights of an encrypted version: its anchor, and the distances that its key opens."""

from fedbus.encryption.ciphertext_frames import Bytes
from fedbus.encryption.encrypt import decrypt_version
from fedbus.encryption.encrypted_blob import read_encrypted_header
from fedbus.encryption.key_files import SecretKey
from fedbus.errors import EncryptionError
from fedbus.model.blob import blank, decode, writable_arrays
from fedbus.model.layout import Layout
from fedbus.wire.blobs import EncryptedVersion


def readable_weights(
    weights: Bytes, anchor: Bytes, encryption: EncryptedVersion, layout: Layout, key: SecretKey
) -> bytearray:
    """Return a version's weights as a plain blob; tensors that are not shared are the anchor's.

    Args:
        weights: The version's blob, whose digest was verified.
        anchor: The plain blob of its anchor, whose digest was verified.
        encryption: How the version is encrypted.
        layout: The model's.
        key: The key that it is encrypted with.

    Raises:
        EncryptionError: The blob is damaged, or of another anchor or another key.
        LayoutError: The anchor does not fit the layout.
    """
    header, _ = read_encrypted_header(weights, memoryview(weights).nbytes, layout)
    if header.anchor != encryption.anchor_weights.digest:
        raise EncryptionError(
            f"the version has distances from the anchor {header.anchor[:12]}, and "
            f"{encryption.anchor_weights.digest[:12]} is named"
        )
    distances = decrypt_version(weights, layout, key)
    plain = blank(layout, "plain")
    views = writable_arrays(plain, layout)
    for name, start in decode(anchor, layout, "plain").items():
        view, distance = views[name], distances.get(name)
        view[...] = start if distance is None else start + distance
    return plain
