"""TenSEAL contexts and single ciphertexts: the only module that imports TenSEAL.

Agents encrypt with the secret key itself (symmetric encryption), which takes half the time of the
public key, adds less noise, and lets SEAL send one of the two polynomials as a seed: half the
bytes. TenSEAL's own vectors cannot write that form, so it is written with TenSEAL's bindings of
SEAL, inside the message that TenSEAL reads.

SEAL is C++: bytes that are no ciphertext raise, and may end the process. Only the process that adds
ciphertexts, and agents that decrypt what a collector committed, read any.
"""

import importlib
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedbus.encryption.parameters import EncryptionParameters
from fedbus.errors import EncryptionError, SettingsError

INSTALL: Final = 'homomorphic encryption needs TenSEAL: pip install "fedbus[encryption]"'
_WITHOUT_MORE: Final = {"save_galois_keys": False, "save_relin_keys": False}
_POLYNOMIALS: Final = 2


def tenseal() -> tuple[ModuleType, ModuleType]:
    """Import TenSEAL and its bindings of SEAL.

    Raises:
        SettingsError: It is missing; the message names the extra to install.
    """
    try:
        with _own_symbols():
            return importlib.import_module("tenseal"), importlib.import_module("tenseal.sealapi")
    except ImportError as error:
        raise SettingsError(f"{INSTALL} ({error})") from None


@contextmanager
def _own_symbols() -> Iterator[None]:
    """Make the extension modules that are imported inside call their own functions.

    TensorFlow has another version of protobuf, whose functions TenSEAL would call if TensorFlow was
    imported first: `serialize` then ends the process with a segmentation fault.
    """
    own = getattr(os, "RTLD_DEEPBIND", 0)  # Linux only
    before = sys.getdlopenflags() if own else 0
    if own:
        sys.setdlopenflags(before | own)
    try:
        yield
    finally:
        if own:
            sys.setdlopenflags(before)


def new_context(parameters: EncryptionParameters) -> Any:  # noqa: ANN401 - TenSEAL ships no types
    """Make a context with a new secret key."""
    ts, _ = tenseal()
    schemes = {"bfv": ts.SCHEME_TYPE.BFV, "ckks": ts.SCHEME_TYPE.CKKS}
    try:
        made = ts.context(
            schemes[parameters.scheme],
            parameters.poly_modulus_degree,
            plain_modulus=parameters.plain_modulus or None,
            coeff_mod_bit_sizes=list(parameters.coeff_mod_bit_sizes),
            n_threads=1,
        )
        if parameters.scheme == "ckks":
            made.global_scale = 2.0**parameters.scale_bits
    except (RuntimeError, ValueError) as error:
        raise SettingsError(f"TenSEAL cannot use these parameters: {error}") from error
    return made


def saved_context(context: Any, *, secret: bool) -> bytes:  # noqa: ANN401 - as above
    """Return a context as bytes, with or without its secret key."""
    saved: bytes = context.serialize(save_public_key=True, save_secret_key=secret, **_WITHOUT_MORE)
    return saved


def loaded_context(saved: bytes) -> Any:  # noqa: ANN401 - as above
    """Return the context that bytes hold; raise EncryptionError if they hold none."""
    try:
        return tenseal()[0].context_from(saved, n_threads=1)
    except (RuntimeError, ValueError) as error:
        raise EncryptionError(f"no context of TenSEAL: {error}") from error


class SlotEncryption:
    """Encrypts slots with the secret key of a context."""

    def __init__(self, context: Any, parameters: EncryptionParameters) -> None:  # noqa: ANN401 - as above
        """Prepare for many ciphertexts."""
        _, self._seal = tenseal()
        self._parameters = parameters
        seal_context = context.seal_context().data
        self._encryptor = self._seal.Encryptor(seal_context, context.secret_key().data)
        encoder = self._seal.BatchEncoder if parameters.scheme == "bfv" else self._seal.CKKSEncoder
        self._encoder = encoder(seal_context)

    def encrypt(self, slots: NDArray[Any], path: str) -> bytes:
        """Return one ciphertext as bytes, by way of the file of `saved_file`."""
        plaintext = self._seal.Plaintext()
        scale = 2.0**self._parameters.scale_bits
        if self._parameters.scheme == "bfv":
            self._encoder.encode(slots.tolist(), plaintext)
        else:
            self._encoder.encode(slots.tolist(), scale, plaintext)
        self._encryptor.encrypt_symmetric(plaintext).save(path)
        saved = Path(path).read_bytes()
        made = _field(1, _varint(slots.size)) + _field(2, saved)
        return (
            made if self._parameters.scheme == "bfv" else made + b"\x19" + struct.pack("<d", scale)
        )


@contextmanager
def saved_file() -> Iterator[str]:
    """Open a file in memory, or else a temporary one; SEAL saves a ciphertext to its path."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("ciphertext", os.MFD_CLOEXEC)
        try:
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            yield file.name


def parsed_ciphertext(context: Any, parameters: EncryptionParameters, saved: bytes) -> Any:  # noqa: ANN401 - as above
    """Return the TenSEAL vector of one ciphertext, checked for its form.

    Raises:
        EncryptionError: The bytes are no ciphertext of these parameters.
    """
    ts, _ = tenseal()
    try:
        read = ts.bfv_vector_from if parameters.scheme == "bfv" else ts.ckks_vector_from
        vector = read(context, saved)
        ciphertexts = vector.ciphertext()
        if len(ciphertexts) != 1 or vector.size() != parameters.slots:
            raise EncryptionError(
                f"{len(ciphertexts)} ciphertexts of {vector.size()} slots where one of "
                f"{parameters.slots} is expected"
            )
        (found,) = ciphertexts
        primes = len(parameters.coeff_mod_bit_sizes) - 1
        if found.size() != _POLYNOMIALS or found.coeff_modulus_size() != primes:
            raise EncryptionError(
                f"a ciphertext of {found.size()} polynomials and {found.coeff_modulus_size()} "
                f"primes where {_POLYNOMIALS} and {primes} are expected"
            )
        if parameters.scheme == "ckks" and found.scale != 2.0**parameters.scale_bits:
            raise EncryptionError(
                f"a ciphertext of scale {found.scale} where 2^{parameters.scale_bits} is expected"
            )
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise EncryptionError(
            f"bytes that are no ciphertext: {error or 'out of memory'}"
        ) from error
    return vector


def decrypted(vector: Any, parameters: EncryptionParameters) -> NDArray[Any]:  # noqa: ANN401 - as above
    """Return the slots of a parsed ciphertext: int64 from 0 to t - 1, or float64."""
    if parameters.scheme == "ckks":
        return np.asarray(vector.decrypt(), np.float64)
    slots = np.asarray(vector.decrypt(), np.int64)
    return np.where(slots < 0, slots + parameters.plain_modulus, slots)


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:  # noqa: PLR2004 - seven bits a byte
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def _field(number: int, content: bytes) -> bytes:
    """Return a field of a protocol buffer that has bytes as its content."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content
