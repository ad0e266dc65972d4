"""Readable weights of a version, in the training thread: decrypted, or read out of a thin blob.

This is the one place where an agent decrypts a version.
"""

from fedbus import compression
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.readable_weights import readable_weights
from fedbus.errors import EncryptionError, PrivacyError
from fedbus.model.blob_header import Blob
from fedbus.wire.blobs import ModelRef
from fedbus_edge_agent.training.checks import check_digest
from fedbus_edge_agent.training.encrypted_task import KEY_MISSING
from fedbus_edge_agent.training.task_runner import Model


def check_download(base: ModelRef) -> None:
    """Raise PluginError if this agent cannot read a version's thin blob: a package is missing."""
    if base.thin is not None:
        compression.chain_of(base.thin.compression).check_installed()


def readable_version(ref: ModelRef, model: Model, weights: Blob, key: SecretKey | None) -> Blob:
    """Return a version's weights as a plain blob; one that is not encrypted as it is.

    If the reference names a thin blob, they are those that it holds, rounded as its steps do.

    Args:
        ref: The version; the digests of its blobs are verified.
        model: Its model, with the anchor if the version is encrypted.
        weights: Its blob, or its thin one if the reference names that.
        key: This agent's.

    Raises:
        FedbusError: A blob is damaged or of another anchor, or the key is missing or another one.
    """
    check_digest(weights, ref.download)
    if ref.thin is not None:
        return compression.decode(weights, model.layout, ref.thin.compression, content="plain")
    encryption, layout, anchor = ref.encryption, model.layout, model.anchor
    if encryption is None:
        return weights
    if key is None:
        raise PrivacyError(KEY_MISSING)
    if anchor is None:
        raise EncryptionError(f"the anchor of {ref.model} version {ref.version} is not here")
    check_digest(anchor, encryption.anchor_weights)
    try:
        return readable_weights(weights, anchor, encryption, layout, key)
    except EncryptionError as error:
        raise EncryptionError(f"{ref.model} version {ref.version}: {error}") from error
