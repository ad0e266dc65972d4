"""Encryption of an agent's update, and decryption of a version, both by agents.

The numbers of an update are rounded at random to whole numbers (`model/fixed_point.py`); BFV adds
those exactly. CKKS encrypts the numbers as they are, in units of their tensor's range.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedbus.encryption.ciphertext_frames import Bytes, ciphertext_bounds, ciphertexts_in, framed
from fedbus.encryption.encrypted_blob import (
    EncryptedHeader,
    encrypted_header_bytes,
    read_encrypted_header,
)
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.parameters import EncryptionParameters, fields_for, parameters_digest
from fedbus.encryption.slot_packing import Slots, ciphertexts_for, pack, unpack
from fedbus.encryption.tenseal_contexts import (
    SlotEncryption,
    decrypted,
    loaded_context,
    parsed_ciphertext,
    saved_file,
)
from fedbus.errors import EncryptionError
from fedbus.model.fixed_point import (
    fixed_point_tensors,
    from_fixed_point,
    sum_bits,
    to_fixed_point,
)
from fedbus.model.layout import Array, Layout, Weights, check_arrays

CANARY_TOLERANCE: Final = 1e-2
"""CKKS: the most that the canary of a sum may differ from its count."""


def _go_on() -> None:
    """Do nothing before a ciphertext."""


def encrypt_update(  # noqa: PLR0913, PLR0917 - what an encrypted update depends on
    update: Weights,
    layout: Layout,
    header: EncryptedHeader,
    examples: int,
    key: SecretKey,
    rng: np.random.Generator,
    before_each: Callable[[], None] = _go_on,
) -> bytearray:
    """Return the encrypted blob of an update.

    Args:
        update: Distances from the anchor by tensor name, for all tensors that are not local.
        layout: The model's.
        header: That of the round, from `planned_header`.
        examples: The agent's training examples, at least 1; the weight counts `max_examples` of
            them at most.
        key: The key that the header names.
        rng: Decides the rounding; from the operating system's random numbers.
        before_each: Called before each ciphertext; what it raises ends the encryption.

    Raises:
        EncryptionError: The key is another one, or a number is not finite.
        LayoutError: The update does not fit the layout, or a tensor has whole numbers.
    """
    _check_key(header, layout, key)
    check_arrays(update, fixed_point_tensors(layout))
    for name, array in update.items():
        if not np.isfinite(array).all():
            raise EncryptionError(f"tensor {name!r} of the update has numbers that are not finite")
    if examples < 1:
        raise EncryptionError(f"an update of {examples} examples; at least 1 is expected")
    counted = min(examples, header.max_examples)
    slots = _slots_of(update, layout, header, counted / header.max_examples, key.parameters, rng)
    return encrypted_slots(header.with_sum(1, counted), slots, key, before_each)


def encrypted_slots(
    header: EncryptedHeader,
    slots: NDArray[Any],
    key: SecretKey,
    before_each: Callable[[], None] = _go_on,
) -> bytearray:
    """Return the encrypted blob of slots, of which each row becomes a ciphertext."""
    encryption = SlotEncryption(loaded_context(key.context), key.parameters)
    blob = bytearray(encrypted_header_bytes(header))
    with saved_file() as path:
        for row in slots:
            before_each()
            blob += framed(encryption.encrypt(row, path))
    return blob


def decrypt_version(blob: Bytes, layout: Layout, key: SecretKey) -> dict[str, Array]:
    """Return a version's distances from its anchor, float64 by tensor name, without local tensors.

    Raises:
        EncryptionError: The blob is damaged, or of another key, other parameters or another layout;
            or its ciphertexts are not the sum of as many updates as its header says.
        LayoutError: A tensor of the layout has whole numbers.
    """
    header, rows = decrypted_slots(blob, layout, key)
    return _distances(rows, layout, header)


def decrypted_slots(
    blob: Bytes, layout: Layout, key: SecretKey
) -> tuple[EncryptedHeader, NDArray[Any]]:
    """Return a blob's header, and the slots of its ciphertexts, whose canaries are checked.

    Raises:
        EncryptionError: As `decrypt_version`.
        LayoutError: As `decrypt_version`.
    """
    header, offset = read_encrypted_header(blob, memoryview(blob).nbytes, layout)
    _check_key(header, layout, key)
    parameters, context = key.parameters, loaded_context(key.context)
    bounds, rows = ciphertext_bounds(parameters), []
    for number, raw in enumerate(ciphertexts_in(blob, offset, header.ciphertexts, bounds), 1):
        try:
            row = decrypted(parsed_ciphertext(context, parameters, raw), parameters)
        except EncryptionError as error:
            raise EncryptionError(
                f"ciphertext {number} of {header.ciphertexts}: {error}"
            ) from error
        if not abs(row[0] - header.count) <= (CANARY_TOLERANCE if header.scheme == "ckks" else 0):
            raise EncryptionError(
                f"ciphertext {number} of {header.ciphertexts}: its canary is {row[0]:.6g} and not "
                f"{header.count}, so it was damaged, or is no sum of {header.count} updates of "
                "this key"
            )
        rows.append(row)
    return header, np.stack(rows)


def _check_key(header: EncryptedHeader, layout: Layout, key: SecretKey) -> None:
    """Raise EncryptionError unless a key and a layout are those of a header."""
    if header.key != key.id:
        raise EncryptionError(
            f"encrypted with key {header.key[:12]}, and the secret key here is {key.id[:12]}; give "
            "this agent the job's key, or ask a key holder to rotate the key"
        )
    made = key.parameters
    if header.scheme != made.scheme or header.parameters != parameters_digest(
        made, key.id, header.fields
    ):
        raise EncryptionError("the digest of the parameters is not that of the key's parameters")
    fits = fields_for(header.bits, header.agents, made.plain_modulus) if made.plain_modulus else 1
    if header.fields > fits or header.agents > made.most_agents:
        raise EncryptionError(
            f"{header.agents} agents with {header.fields} numbers of {header.bits} bits in a slot, "
            "of which the sum can overflow"
        )
    count = ciphertexts_for(_numbers(layout), made.slots, header.fields)
    if header.ciphertexts != count or header.layout != layout.digest:
        raise EncryptionError(
            f"{header.ciphertexts} ciphertexts of layout {header.layout[:12]}, where {count} of "
            f"layout {layout.digest[:12]} are expected"
        )


def _numbers(layout: Layout) -> int:
    return sum(tensor.numbers for tensor in layout.shared)


def _slots_of(  # noqa: PLR0913, PLR0917 - as encrypt_update
    update: Weights,
    layout: Layout,
    header: EncryptedHeader,
    weight: float,
    parameters: EncryptionParameters,
    rng: np.random.Generator,
) -> Slots | NDArray[np.float64]:
    if header.scheme == "bfv":
        wholes = to_fixed_point(update, layout, header.ranges, header.bits, weight, rng)
        width = sum_bits(header.bits, header.agents)
        return pack(wholes, parameters.slots, header.fields, width)
    return _in_units(update, layout, header.ranges, weight, parameters.slots)


def _in_units(
    update: Weights, layout: Layout, ranges: Sequence[int], weight: float, slots: int
) -> NDArray[np.float64]:
    """Return numbers of -1 to 1, weighted, in rows that begin with the canary 1."""
    numbers = _numbers(layout)
    rows = np.zeros((ciphertexts_for(numbers, slots, 1), slots - 1))
    flat, start = rows.reshape(-1), 0
    for tensor, exponent in zip(fixed_point_tensors(layout), ranges, strict=True):
        part = np.clip(update[tensor.name].ravel().astype(np.float64) / 2.0**exponent, -1, 1)
        flat[start : start + tensor.numbers] = part * weight
        start += tensor.numbers
    return np.concatenate((np.ones((len(rows), 1)), rows), axis=1)


def _distances(rows: NDArray[Any], layout: Layout, header: EncryptedHeader) -> dict[str, Array]:
    """Return the weighted mean of the updates whose sum the slots are."""
    weights = header.weight / header.max_examples
    if header.scheme == "bfv":
        width = sum_bits(header.bits, header.agents)
        total = unpack(rows, _numbers(layout), header.fields, width)
        return from_fixed_point(total, layout, header.ranges, header.bits, header.count, weights)
    means, start, flat = {}, 0, rows[:, 1:].reshape(-1)
    for tensor, exponent in zip(fixed_point_tensors(layout), header.ranges, strict=True):
        part = flat[start : start + tensor.numbers]
        means[tensor.name] = (part * (2.0**exponent / weights)).reshape(tensor.shape)
        start += tensor.numbers
    return means
