"""Checks of ciphertexts of versions by size and header: without the secret key, of no more. Pure.

An exact size is not known: ciphertexts are packed. What one holds is checked by those who decrypt.
"""

from typing import Final

from fedbus.encryption.encrypted_blob import (
    encrypted_bounds,
    planned_header,
    read_encrypted_header,
)
from fedbus.errors import EncryptionError, LayoutError, SettingsError
from fedbus.model.layout import Layout
from fedbus.text import counted
from fedbus.wire.blobs import EncryptedVersion
from fedbus.wire.encryption import EncryptionTerms
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus_repository.stores.protection_rules import short_key

MAX_CIPHERTEXT_BYTES: Final = 16 * 2**20
"""One ciphertext of the largest degree, which has room for more numbers than a small model has."""
MAX_ENCRYPTED_NUMBER_BYTES: Final = 256


def check_encryption_key(found: str, key: str | None) -> None:
    """Raise LayoutError if a version's key is not that of this repository; None: any is accepted.

    A collector that was started with another key would make versions that no agent can read.
    """
    if key is not None and found != key:
        raise LayoutError(
            f"they are encrypted with the key {short_key(found)}, and this repository has "
            f"{short_key(key)}; start it with the public key of the new versions "
            "(FEDBUS_ENCRYPTION_KEY)"
        )


def check_encrypted_size(size: int, terms: EncryptionTerms, layout: Layout) -> None:
    """Raise LayoutError if no sum of a job's updates has this size, before any is received."""
    try:
        bounds = encrypted_bounds(terms, layout)
    except SettingsError as error:
        raise LayoutError(str(error)) from error
    if not bounds.least < size <= bounds.most:
        raise LayoutError(f"expected {bounds.text} bytes of ciphertexts, got {size}")


def check_encrypted_round(
    prefix: bytes, size: int, layout: Layout, record: RoundRecord, plan: Plan
) -> None:
    """Raise LayoutError unless a blob's header says that it is the sum of a round's updates.

    Args:
        prefix: The first bytes of the blob.
        size: Its size.
        layout: The model's.
        record: The round's; it is encrypted, and was compared with its parent.
        plan: The round's.
    """
    terms, encryption = record.strategy.encryption, record.encryption
    if terms is None or encryption is None:
        raise LayoutError("a round that does not say how its version is encrypted")
    try:
        header, _ = read_encrypted_header(prefix, size, layout)
        header.check_like(
            planned_header(
                terms,
                layout,
                anchor=encryption.anchor_weights.digest,
                ranges=plan.ranges,
                max_examples=plan.max_examples,
            )
        )
    except EncryptionError as error:
        raise LayoutError(str(error)) from error
    agents, examples = len(record.contributors), sum(each.examples for each in record.contributors)
    if (header.count, header.weight) != (agents, examples):
        raise LayoutError(
            f"the sum of {counted(header.count, 'update')} of {counted(header.weight, 'example')}, "
            f"where the round has {agents} of {examples}"
        )


def check_rotated_size(size: int, layout: Layout) -> None:
    """Raise LayoutError if a version is larger than its numbers are with the largest parameters.

    Which parameters its key has is not known before it is received.
    """
    numbers = sum(tensor.numbers for tensor in layout.shared)
    most = MAX_CIPHERTEXT_BYTES + numbers * MAX_ENCRYPTED_NUMBER_BYTES
    if size > most:
        raise LayoutError(f"expected at most {most} bytes of ciphertexts, got {size}")


def check_rotated_header(
    prefix: bytes, size: int, layout: Layout, encryption: EncryptedVersion
) -> None:
    """Raise LayoutError unless a blob's header says what the push says of its encryption."""
    try:
        header, _ = read_encrypted_header(prefix, size, layout)
    except EncryptionError as error:
        raise LayoutError(str(error)) from error
    found = (header.scheme, header.key, header.parameters, header.anchor)
    expected = (
        *(encryption.scheme, encryption.key, encryption.parameters),
        encryption.anchor_weights.digest,
    )
    if found != expected:
        raise LayoutError("their header has another scheme, key or anchor than the push says")
