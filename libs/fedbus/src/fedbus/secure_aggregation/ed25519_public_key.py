"""Public key of an Ed25519 private key (RFC 8032, section 5.1.5) without `cryptography`.

An agent announces its public key whenever it starts, and `cryptography` takes 7 MB of memory, which
an agent on a small board needs only if it takes part in a masked round. Signatures are made and
verified by `cryptography`. How long this takes (2 ms) depends on the private key, so it is computed
at the start of an agent, before it has a connection, and never for a message.
"""

from hashlib import sha512
from typing import Final

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P

Point = tuple[int, int, int, int]
"""Extended coordinates X, Y, Z, T, where x = X/Z, y = Y/Z and xy = T/Z."""

_BASE_Y: Final = 4 * pow(5, -1, _P) % _P
_BASE_X: Final = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BASE: Final[Point] = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)


def ed25519_public_key(private: bytes) -> bytes:
    """Return the 32 bytes of the public key that belong to the 32 bytes of a private one."""
    scalar = int.from_bytes(sha512(private).digest()[:32], "little")
    scalar &= (1 << 254) - 8
    scalar |= 1 << 254
    total: Point = (0, 1, 1, 0)
    power = _BASE
    while scalar:
        if scalar & 1:
            total = _sum(total, power)
        power = _sum(power, power)
        scalar >>= 1
    x, y, z, _ = total
    inverse = pow(z, -1, _P)
    x, y = x * inverse % _P, y * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _sum(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P
