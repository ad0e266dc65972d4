"""Rotation of a version's key: what a key holder decrypts is encrypted again with another key.

The sums in the slots stay the same, so with BFV the numbers of the version do; CKKS adds its error
once more.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.encryption.ciphertext_frames import Bytes
from fedbus.encryption.encrypt import decrypted_slots, encrypted_slots
from fedbus.encryption.encrypted_header import EncryptedHeader
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.parameters import fields_for, parameters_digest
from fedbus.encryption.slot_packing import ciphertexts_for, pack, unpack
from fedbus.errors import EncryptionError
from fedbus.model.fixed_point import sum_bits
from fedbus.model.layout import Layout


def rotate_version(
    blob: Bytes, layout: Layout, old: SecretKey, new: SecretKey
) -> tuple[EncryptedHeader, bytearray]:
    """Return a version's header and blob with another key; its anchor and numbers stay.

    Raises:
        EncryptionError: The version is not one of the old key, or the new key cannot hold it.
        LayoutError: A tensor of the layout has whole numbers.
    """
    header, rows = decrypted_slots(blob, layout, old)
    fields, numbers = _fields(header, new), sum(tensor.numbers for tensor in layout.shared)
    made = _repacked(header, rows, numbers, new.parameters.slots, fields)
    rotated = replace(
        header,
        key=new.id,
        parameters=parameters_digest(new.parameters, new.id, fields),
        fields=fields,
        ciphertexts=len(made),
    )
    return rotated, encrypted_slots(rotated, made, new)


def _repacked(
    header: EncryptedHeader, rows: NDArray[Any], numbers: int, slots: int, fields: int
) -> NDArray[Any]:
    """Return the sums of a version in rows of `slots`, which begin with the canary."""
    made: NDArray[Any]
    if header.scheme == "bfv":
        width = sum_bits(header.bits, header.agents)
        made = pack(unpack(rows, numbers, header.fields, width), slots, fields, width)
    else:
        made = np.zeros((ciphertexts_for(numbers, slots, 1), slots))
        padded = np.zeros((len(made), slots - 1))
        padded.reshape(-1)[:numbers] = rows[:, 1:].reshape(-1)[:numbers]
        made[:, 1:] = padded
    made[:, 0] = header.count
    return made


def _fields(header: EncryptedHeader, new: SecretKey) -> int:
    """Return the numbers in a slot with another key; raise EncryptionError if it holds none."""
    if new.parameters.scheme != header.scheme:
        raise EncryptionError(
            f"the version is encrypted with {header.scheme}, and the new key is for "
            f"{new.parameters.scheme}; make a key with `fedbus keys generate --scheme "
            f"{header.scheme}`"
        )
    fields = 1
    if header.scheme == "bfv":
        fields = fields_for(header.bits, header.agents, new.parameters.plain_modulus)
    if not fields or header.agents > new.parameters.most_agents:
        raise EncryptionError(
            f"the new key cannot hold the sum of {header.agents} numbers of {header.bits} bits; "
            f"make a key with `fedbus keys generate FOLDER --bits {header.bits} --agents "
            f"{header.agents}`"
        )
    return fields
