"""Key agreement of two agents, and encryption from one to the other: X25519, HKDF, AES-GCM. Pure.

X25519 is RFC 7748, HKDF with SHA-256 RFC 5869. Both keys of a pair are fresh for a task, so a
secret of theirs belongs to that task alone.
"""

from typing import Final

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.shamir import RandomBytes

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
SEAL_BYTES: Final = _NONCE_BYTES + 16
"""What encryption adds: a nonce, and GCM's tag."""


def public_key(private: bytes) -> bytes:
    """Return the public part of an X25519 key."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agreed_secret(private: bytes, public: bytes) -> bytes:
    """Return the secret that an agent and another one have in common: 32 bytes.

    Raises:
        MaskingError: The public key is one of the few with which the secret is always zero.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    key = X25519PrivateKey.from_private_bytes(private)
    try:
        return key.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise MaskingError("a public key with which no secret can be agreed") from error


def derived_key(secret: bytes, info: bytes, salt: bytes | None = None) -> bytes:
    """Return the 32 bytes that HKDF makes of a secret for one purpose, which `info` names."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(secret)


def seal(plain: bytes, key: bytes, bound_to: bytes, random_bytes: RandomBytes) -> bytes:
    """Encrypt for the agent that can derive the key; `bound_to` is authenticated, and not sent."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = random_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound_to)


def open_sealed(sealed: bytes, key: bytes, bound_to: bytes) -> bytes:
    """Decrypt what `seal` made.

    Raises:
        MaskingError: It was changed, or made with another key or for another purpose.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(sealed) < SEAL_BYTES:
        raise MaskingError(f"a sealed share of {len(sealed)} bytes")
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
    except InvalidTag:
        raise MaskingError("a sealed share that does not decrypt") from None
