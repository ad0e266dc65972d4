"""Header of an encrypted blob: what its ciphertexts are, and how its map is verified. Pure."""

import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final, cast, get_args

from fedbus.errors import EncryptionError
from fedbus.limits import MAX_COHORT_AGENTS, MAX_TENSORS
from fedbus.model.fixed_point import LEAST_EXPONENT
from fedbus.wire.blobs import Scheme

ENCODING: Final = "encrypted"
_DIGEST_CHARACTERS: Final = 64
_HEXADECIMAL: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedHeader:
    """What the ciphertexts of a blob are.

    Attributes:
        layout: The digest of the model's layout.
        scheme: The scheme.
        key: The id of the key.
        parameters: The digest of all parameters; see `parameters_digest`.
        anchor: The digest of the plain weights that the numbers are distances from.
        ranges: One exponent for each tensor that is not local.
        bits: Bits of one agent's number.
        agents: The most agents whose numbers may be added; with `bits` the width of a field.
        fields: Numbers in one slot.
        max_examples: The examples of an agent with the weight 1.
        count: Agents whose numbers were added; 1 in an update.
        weight: The sum of their examples, each at most `max_examples`.
        ciphertexts: Their number.
    """

    layout: str
    scheme: Scheme
    key: str
    parameters: str
    anchor: str
    ranges: tuple[int, ...]
    bits: int
    agents: int
    fields: int
    max_examples: int
    count: int = 0
    weight: int = 0
    ciphertexts: int

    def with_sum(self, count: int, weight: int) -> "EncryptedHeader":
        """Return the same header for the sum of `count` updates."""
        return replace(self, count=count, weight=weight)

    def check_like(self, expected: "EncryptedHeader") -> None:
        """Raise EncryptionError unless only `count` and `weight` differ from another header."""
        wanted = asdict(expected.with_sum(self.count, self.weight))
        if differing := [key for key, value in asdict(self).items() if value != wanted[key]]:
            key = differing[0]
            found, wants = (str(each[key])[:80] for each in (asdict(self), wanted))
            raise EncryptionError(
                f"{_SAID.get(key, key)} of the encrypted blob is {found}, and {wants} is expected"
            )


_SAID: Final = {
    "key": "the key",
    "parameters": "the digest of the parameters",
    "anchor": "the anchor",
    "layout": "the layout",
}


def header_in(content: object) -> EncryptedHeader:
    """Return the header that a map states; raise EncryptionError if it states none or lies."""
    match content:
        case {"encoding": str(encoding)} if encoding != ENCODING:
            raise EncryptionError(f"a {encoding[:40]} blob where an encrypted one is expected")
        case {"layout": str(layout), "encryption": dict(found)}:
            return _validated(layout, found)
        case _:
            raise EncryptionError("a blob whose header does not say how it is encrypted")


def _validated(layout: str, found: Mapping[object, object]) -> EncryptedHeader:
    for name in ("key", "parameters", "anchor"):
        _digest(name, found.get(name))
    scheme, ranges = found.get("scheme"), found.get("ranges")
    if scheme not in get_args(Scheme):
        raise EncryptionError(f"scheme {str(scheme)[:40]!r} in the header of an encrypted blob")
    if not isinstance(ranges, bytes) or not 0 < len(ranges) <= MAX_TENSORS:
        raise EncryptionError("no ranges in the header of an encrypted blob")
    exponents = struct.unpack(f"{len(ranges)}b", ranges)
    if min(exponents) < LEAST_EXPONENT:
        raise EncryptionError(f"a range of 2^{min(exponents)} in the header of an encrypted blob")
    numbers = {name: _whole(name, found.get(name), most) for name, most in _GREATEST.items()}
    if numbers["count"] > numbers["agents"]:
        raise EncryptionError(
            f"an encrypted blob of {numbers['count']} agents, of which {numbers['agents']} may be"
        )
    if not numbers["count"] <= numbers["weight"] <= numbers["count"] * numbers["max_examples"]:
        raise EncryptionError(
            f"weight {numbers['weight']} in the header of an encrypted blob, for "
            f"{numbers['count']} agents of 1 to {numbers['max_examples']} examples"
        )
    return EncryptedHeader(
        layout=_digest("layout", layout),
        scheme=cast("Scheme", scheme),
        key=cast("str", found["key"]),
        parameters=cast("str", found["parameters"]),
        anchor=cast("str", found["anchor"]),
        ranges=exponents,
        **numbers,
    )


_GREATEST: Final = {
    "bits": 24,
    "agents": MAX_COHORT_AGENTS,
    "fields": 16,
    "max_examples": 2**31 - 1,
    "count": MAX_COHORT_AGENTS,
    "weight": 2**53,
    "ciphertexts": 2**31,
}


def _digest(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) != _DIGEST_CHARACTERS or set(value) - _HEXADECIMAL:
        raise EncryptionError(f"{name} in the header of an encrypted blob is no digest")
    return value


def _whole(name: str, value: object, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise EncryptionError(
            f"{name} in the header of an encrypted blob is {str(value)[:40]}, not 1 to {most}"
        )
    return value
