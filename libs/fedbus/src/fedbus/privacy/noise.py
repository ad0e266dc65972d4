"""Noise of a round, from the collectors' key and from what is combined. Pure.

A collector that computes a round again, after a failure or in another process, must add the same
noise: two results of one sum with different noise would tell more than one. And noise must never
be added to another sum, since the difference of both results would have none. Nor may it be
multiplied by another standard deviation: twice the result with deviation 1, less that with 2, has
no noise. A job id names another job in another repository, so the noise is a function of the key,
of the job, round, task and digest of the updates, and of the parts that combine and noise them:

- HKDF with SHA-256 (RFC 5869) makes of the key, and of an encoding of those with the length before
  each part, an AES-256 key and half a counter block;
- AES in counter mode makes random bytes, 8 for each number of the model, at any position;
- `noise_numbers` makes normal numbers of them.
"""

import json
from collections.abc import Sequence
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedbus.privacy.noise_key import NoiseKey
from fedbus.privacy.noise_numbers import NORMAL_BYTES, Numbers, normals_of
from fedbus.wire.privacy import NoiseStep
from fedbus.wire.strategies import Strategy

_WEIGHTS: Final = "fedbus noise of weights, version 2"
_NAMED: Final = "fedbus noise of one number, version 2"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 8
_PAIR: Final = 2
_PAIR_BYTES: Final = _PAIR * NORMAL_BYTES
"""One AES block: so the position of a pair of numbers is its counter."""
_BLOCK_PAIRS: Final = 2**15
_ZEROS: Final = bytes(_PAIR_BYTES * _BLOCK_PAIRS)


class KeyedNoise:
    """The source of a round's noise for collectors; fits `fedbus.plugins.RoundNoise`.

    Args:
        key: The collectors' key.
        job: The job's id.
        steps: What each ledger entry's noise was drawn from, in the order of the ledger, up to this
            round's.
        strategy: The job's, the same in all its rounds.
    """

    def __init__(
        self, key: NoiseKey, job: str, steps: Sequence[NoiseStep], strategy: Strategy
    ) -> None:
        if not steps:
            raise ValueError("steps: expected those of the ledger and this round's, got none")
        self._key = key
        self._job = job
        self._steps = tuple(steps)
        self._parts = _parts_of(strategy)
        self._streams: dict[int, _Stream] = {}
        self.step: int = len(steps) - 1

    def __repr__(self) -> str:
        return f"KeyedNoise(job={self._job!r}, step={self.step})"

    def normals(self, start: int, count: int, /, back: int = 0) -> Numbers:
        """Return standard normal numbers `start` to `start + count`; see `RoundNoise.normals`."""
        if start < 0 or count < 0 or not 0 <= back <= self.step:
            raise ValueError(
                f"expected start and count of at least 0, and back from 0 to {self.step}, got "
                f"{start}, {count} and {back}"
            )
        stream, skipped = self._stream(back), start % _PAIR
        end = start + count
        drawn = np.empty(skipped + count + end % _PAIR)
        first = start // _PAIR
        for place in range(0, len(drawn), _PAIR * _BLOCK_PAIRS):
            part = drawn[place : place + _PAIR * _BLOCK_PAIRS]
            part[:] = normals_of(stream.bytes(first + place // _PAIR, len(part) // _PAIR))
        return drawn[skipped : skipped + count]

    def normal(self, name: str, /) -> float:
        """Return one further number, which differs by its name."""
        return float(normals_of(self._stream_of(_NAMED, self._steps[-1], name).bytes(0, 1))[0])

    def _stream(self, back: int) -> "_Stream":
        if back not in self._streams:
            self._streams[back] = self._stream_of(_WEIGHTS, self._steps[self.step - back])
        return self._streams[back]

    def _stream_of(self, domain: str, step: NoiseStep, *names: str) -> "_Stream":
        drawn_for = (self._job, str(step.round), str(step.task), step.updates, self._parts)
        info, length = (domain, *drawn_for, *names), _KEY_BYTES + _NONCE_BYTES
        hkdf = HKDF(algorithm=SHA256(), length=length, salt=None, info=_encoded(info))
        return _Stream(hkdf.derive(self._key.secret))


class _Stream:
    """Random bytes by position: AES-256 in counter mode."""

    __slots__ = ("_nonce", "_secret")

    def __init__(self, material: bytes) -> None:
        self._secret, self._nonce = material[:_KEY_BYTES], material[_KEY_BYTES:]

    def bytes(self, block: int, count: int) -> bytes:
        """Return the random bytes of AES blocks `block` to `block + count`."""
        counter = self._nonce + block.to_bytes(16 - _NONCE_BYTES, "big")
        cipher = Cipher(AES(self._secret), CTR(counter)).encryptor()
        return cipher.update(memoryview(_ZEROS)[: _PAIR_BYTES * count])


def _parts_of(strategy: Strategy) -> str:
    """Return the parts between updates and the result with noise, with all their parameters."""
    parts = (strategy.aggregator, *strategy.update_transforms)
    return json.dumps([[part.id, part.parameters] for part in parts], sort_keys=True)


def _encoded(parts: Sequence[str]) -> bytes:
    """Return an encoding that no other parts have: each with its length before it."""
    encoded = (part.encode() for part in parts)
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
