"""Checks of ciphertexts of versions by size and header: without the secret key, of no more. Pure.

An exact size is not known: ciphertexts are packed. What one holds is checked by those who decrypt.
"""

from fedbus.encryption.encrypted_blob import (
    encrypted_bounds,
    planned_header,
    read_encrypted_header,
)
from fedbus.errors import EncryptionError, LayoutError, SettingsError
from fedbus.model.layout import Layout
from fedbus.text import counted
from fedbus.wire.encryption import EncryptionTerms
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus_repository.stores.protection_rules import short_key


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
