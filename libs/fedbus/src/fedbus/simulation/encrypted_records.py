"""Oracle of encrypted jobs: their versions computed again with the secret key, bit for bit.

    check_encrypted_records(store, updates, key)

A test hands it the agents' key, and each update that an agent has encrypted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from fedbus.encryption.ciphertext_frames import ciphertext_bounds, ciphertexts_in
from fedbus.encryption.encrypt import decrypt_version
from fedbus.encryption.encrypted_blob import EncryptedHeader, read_encrypted_header
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.slot_packing import unpack
from fedbus.encryption.tenseal_contexts import decrypted, loaded_context, parsed_ciphertext
from fedbus.errors import EncryptionError
from fedbus.model.blob import decode
from fedbus.model.fixed_point import Wholes, from_fixed_point, sum_bits
from fedbus.model.layout import Layout
from fedbus.simulation.oracle import RecordCounts, check_records
from fedbus.simulation.stored_records import (
    RecordsError,
    RoundLike,
    StoredRecords,
    name_of,
    read_blob,
    read_spec,
)
from fedbus.wire.round_records import RoundRecord

CKKS_TOLERANCE: Final = 1e-4
"""How far a mean of CKKS may be from that of its updates, as a share of its tensor's range."""


def check_encrypted_records(
    store: StoredRecords, updates: Mapping[str, bytes], key: SecretKey
) -> RecordCounts:
    """Check all records of a repository, and that each sum is that of its contributors alone.

    A BFV sum is exact; that of CKKS is compared to `CKKS_TOLERANCE` of the range of each tensor.

    Args:
        store: The repository's store.
        updates: Each update that an agent encrypted, by its digest.
        key: The agents' key.

    Raises:
        RecordsError: Two records contradict each other, or a version is not the sum of the whole
            numbers that its contributors encrypted.
    """
    counts, summed = check_records(store), 0
    context = loaded_context(key.context)
    for each in store.history():
        if each.record is not None and each.record.encryption is not None and each.version.kept:
            _check_sum(store, each, each.record, updates, key, context)
            summed += 1
    return replace(counts, summed=summed)


def _check_sum(  # noqa: PLR0913, PLR0917 - a round, and what its updates are read with
    store: StoredRecords,
    each: RoundLike,
    record: RoundRecord,
    updates: Mapping[str, bytes],
    key: SecretKey,
    context: Any,  # noqa: ANN401 - TenSEAL ships no types
) -> None:
    what = name_of(each.version)
    layout = Layout.read(read_spec(store, each.version).layout)
    version = read_blob(store, each.version.weights, f"the weights of {what}")
    header, _ = read_encrypted_header(version, len(version), layout)
    made = [updates[one.update] for one in record.contributors]
    if header.scheme == "ckks":
        _check_ckks_sum(version, made, layout, key, what)
    else:
        _check_exact_sum(version, made, layout, key, what, context)
    for one in record.contributors:
        own, _ = read_encrypted_header(updates[one.update], None, layout)
        own.check_like(header)
        if own.weight != one.examples:
            raise RecordsError(f"{what}: {one.agent} encrypted another weight than it offered")
    if record.encryption is not None:
        anchor = read_blob(store, record.encryption.anchor_weights, f"the anchor of {what}")
        decode(anchor, layout, "plain")


def _check_ckks_sum(
    version: bytes, made: Sequence[bytes], layout: Layout, key: SecretKey, what: str
) -> None:
    """Compare a mean of CKKS with that of its updates, each of which is decrypted alone."""
    header, _ = read_encrypted_header(version, len(version), layout)
    weights = [read_encrypted_header(each, None, layout)[0].weight for each in made]
    own = [decrypt_version(each, layout, key) for each in made]
    found = decrypt_version(version, layout, key)
    for tensor, exponent in zip(layout.shared, header.ranges, strict=True):
        mean = np.average([each[tensor.name] for each in own], axis=0, weights=weights)
        if np.abs(found[tensor.name] - mean).max(initial=0.0) > CKKS_TOLERANCE * 2.0**exponent:
            raise RecordsError(f"{what} is not the sum of what its contributors encrypted")


def _check_exact_sum(  # noqa: PLR0913, PLR0917 - as above
    version: bytes,
    made: Sequence[bytes],
    layout: Layout,
    key: SecretKey,
    what: str,
    context: Any,  # noqa: ANN401 - as above
) -> None:
    """Compare a sum of BFV with that of the whole numbers of its updates."""
    header, found = _wholes_of(version, layout, key, context)
    wholes = [_wholes_of(each, layout, key, context)[1] for each in made]
    if not np.array_equal(found, np.sum(wholes, axis=0)):
        raise RecordsError(f"{what} is not the sum of what its contributors encrypted")
    weights = header.weight / header.max_examples
    mean = from_fixed_point(found, layout, header.ranges, header.bits, header.count, weights)
    readable = decrypt_version(version, layout, key)
    if any(not np.array_equal(readable[name], mean[name]) for name in mean):
        raise RecordsError(f"{what} is decrypted to another mean than that of its whole numbers")


def _wholes_of(
    blob: bytes,
    layout: Layout,
    key: SecretKey,
    context: Any,  # noqa: ANN401 - as above
) -> tuple[EncryptedHeader, Wholes]:
    """Decrypt the whole numbers of a BFV blob, and check the canaries."""
    header, offset = read_encrypted_header(blob, len(blob), layout)
    bounds = ciphertext_bounds(key.parameters)
    rows = [
        decrypted(parsed_ciphertext(context, key.parameters, raw), key.parameters)
        for raw in ciphertexts_in(blob, offset, header.ciphertexts, bounds)
    ]
    if any(row[0] != header.count for row in rows):
        raise EncryptionError("a canary is not the number of agents")
    numbers = sum(tensor.numbers for tensor in layout.shared)
    width = sum_bits(header.bits, header.agents)
    return header, unpack(np.stack(rows), numbers, header.fields, width)
