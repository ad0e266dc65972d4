"""Addition of an encrypted update to a running sum, from file to file, one ciphertext at a time.

It parses ciphertexts of agents with SEAL, so it runs in the worker process of `sum_process.py`.
"""

from pathlib import Path
from typing import IO, Any

from fedbus.atomic_write import open_atomic, os_errors_as_store_errors
from fedbus.encryption.ciphertext_frames import (
    LENGTH_BYTES,
    check_length,
    ciphertext_bounds,
    framed,
    length_in,
)
from fedbus.encryption.encrypted_blob import (
    MAX_ENCRYPTED_HEADER_BYTES,
    EncryptedHeader,
    encrypted_header_bytes,
    read_encrypted_header,
)
from fedbus.encryption.parameters import EncryptionParameters, parameters_digest
from fedbus.encryption.tenseal_contexts import parsed_ciphertext
from fedbus.errors import EncryptionError
from fedbus.model.encodings import SizeBounds


class CiphertextFile:
    """The ciphertexts of an encrypted blob in a file, each read when it is needed."""

    def __init__(self, file: IO[bytes], expected: EncryptedHeader, bounds: SizeBounds) -> None:
        """Read the header; raise EncryptionError if it is not as expected, or the file too long."""
        self._file, self._bounds = file, bounds
        size = file.seek(0, 2)
        file.seek(0)
        prefix = file.read(MAX_ENCRYPTED_HEADER_BYTES)
        self.header, offset = read_encrypted_header(prefix, size)
        self.header.check_like(expected)
        self._count = expected.ciphertexts
        if size > offset + self._count * (LENGTH_BYTES + bounds.most):
            raise EncryptionError(f"{size} bytes are too many for {self._count} ciphertexts")
        file.seek(offset)

    def read(self, number: int) -> bytes:
        """Return the next ciphertext; it is the one with this number, from 1.

        Raises:
            EncryptionError: It is cut off or has an impossible length, or bytes follow the last.
        """
        raw = self._file.read(LENGTH_BYTES)
        length = length_in(raw) if len(raw) == LENGTH_BYTES else 0
        check_length(length, number, self._count, self._bounds)
        made = self._file.read(length)
        if len(made) < length:
            raise EncryptionError(f"ciphertext {number} of {self._count} is cut off")
        if number == self._count and self._file.read(1):
            raise EncryptionError(f"bytes follow the {self._count} ciphertexts")
        return made


def add_update(  # noqa: PLR0913, PLR0917 - three files and what they must be
    total: Path | None,
    update: Path,
    out: Path,
    expected: EncryptedHeader,
    context: Any,  # noqa: ANN401 - TenSEAL ships no types
    parameters: EncryptionParameters,
) -> EncryptedHeader:
    """Add an update to a sum, and return the header of the new sum.

    `out` is replaced in one step, and only if all ciphertexts were added; it may be `total`.

    Args:
        total: The sum of the updates before; None if there are none.
        update: The update of one agent.
        out: Where the new sum is written.
        expected: What all updates of the round have in their headers, from `planned_header`; with
            `with_sum(1, examples)` also what this one has.
        context: The public TenSEAL context of the key.
        parameters: The key's.

    Raises:
        EncryptionError: The update is not one of this round, key and parameters, or is damaged.
        StoreError: A file cannot be read or written.
    """
    if expected.parameters != parameters_digest(parameters, expected.key, expected.fields):
        raise EncryptionError("the digest of the parameters is not that of the key's parameters")
    bounds = ciphertext_bounds(parameters)
    with os_errors_as_store_errors(out, "add an encrypted update"), update.open("rb") as file:
        new = CiphertextFile(file, expected, bounds)
        if new.header.count != 1:
            raise EncryptionError(f"an update that says it is the sum of {new.header.count}")
        if expected.count and new.header.weight != expected.weight:
            raise EncryptionError(
                f"an update of {new.header.weight} examples, of which {expected.weight} are offered"
            )
        if total is None:
            return _sum_of(None, new, out, context, parameters)
        with total.open("rb") as old:
            before = CiphertextFile(old, expected, bounds)
            return _sum_of(before, new, out, context, parameters)


def _sum_of(
    before: CiphertextFile | None,
    new: CiphertextFile,
    out: Path,
    context: Any,  # noqa: ANN401 - as above
    parameters: EncryptionParameters,
) -> EncryptedHeader:
    count, weight = (before.header.count, before.header.weight) if before else (0, 0)
    header = new.header.with_sum(count + 1, weight + new.header.weight)
    if header.count > header.agents:
        raise EncryptionError(f"one update more than the {header.agents} that may be added")
    with open_atomic(out) as file:
        file.write(encrypted_header_bytes(header))
        for number in range(1, header.ciphertexts + 1):
            try:
                vector = parsed_ciphertext(context, parameters, new.read(number))
                if before is not None:
                    vector += parsed_ciphertext(context, parameters, before.read(number))
            except EncryptionError as error:
                raise EncryptionError(
                    f"ciphertext {number} of {header.ciphertexts}: {error}"
                ) from error
            file.write(framed(vector.serialize()))
    return header
