"""A round's noise is one function of the key and of what is combined, however it is cut."""

import hashlib
import hmac
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbus.privacy.noise import KeyedNoise
from fedbus.privacy.noise_key import NoiseKey
from fedbus.privacy.noise_numbers import normals_of
from fedbus.training.params import PluginChoice
from fedbus.wire.privacy import NoiseStep
from fedbus.wire.strategies import Strategy
from tests.fedbus.privacy.privacy_examples import MECHANISM, STRATEGY

KEY = NoiseKey(bytes(range(32)))
STEPS = tuple(
    NoiseStep(round=number, task=number, updates=f"{number:064x}") for number in (1, 2, 3)
)


def noise(
    job: str = "job", key: NoiseKey = KEY, *steps: NoiseStep, strategy: Strategy = STRATEGY
) -> KeyedNoise:
    """Return the noise of a third round."""
    return KeyedNoise(key, job, steps or STEPS, strategy)


def louder(**parameters: float) -> Strategy:
    """Return the strategy with other parameters of its mechanism."""
    changed = replace(MECHANISM, parameters={**MECHANISM.parameters, **parameters})
    return replace(STRATEGY, update_transforms=(changed,))


def test_the_noise_is_what_hkdf_and_aes_make_of_the_key() -> None:
    """RFC 5869 with HMAC alone, and AES of each counter: a second way to the same bytes."""
    combined = '[["mean", {}], ["dp-fixed", {"clipping_norm": 1.0, "noise_multiplier": 1.0}]]'
    parts = ["fedbus noise of weights, version 2", "job", "3", "3", STEPS[2].updates, combined]
    info = b"".join(len(part).to_bytes(4, "big") + part.encode() for part in parts)
    extracted = hmac.digest(bytes(32), KEY.secret, "sha256")
    first = hmac.digest(extracted, info + b"\x01", "sha256")
    second = hmac.digest(extracted, first + info + b"\x02", "sha256")
    cipher = Cipher(AES(first), ECB()).encryptor()  # noqa: S305 - the counters are written out
    stream = cipher.update(
        b"".join(second[:8] + counter.to_bytes(8, "big") for counter in range(4))
    )
    assert noise().normals(0, 8).tobytes() == normals_of(stream).tobytes()


@given(cuts=st.lists(st.integers(0, 70_000), max_size=6), back=st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_any_cut_into_blocks_gives_the_same_numbers(cuts: list[int], back: int) -> None:
    """A collector cuts a model into blocks by the memory that it has."""
    whole = noise().normals(0, 70_001, back)
    places = sorted({0, *cuts, 70_001})
    parts = [noise().normals(start, end - start, back) for start, end in pairwise(places)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert noise().normals(2**40 + 1, 3)[1:].tobytes() == noise().normals(2**40 + 2, 2).tobytes()


def test_earlier_noise_is_that_of_the_earlier_round() -> None:
    """Banded noise takes it back, so it must be the same to the bit."""
    earlier = noise("job", KEY, *STEPS[:2])
    assert (earlier.step, noise().step) == (1, 2)
    assert noise().normals(5, 9, back=1).tobytes() == earlier.normals(5, 9).tobytes()


OTHERS = {
    "round": noise("job", KEY, replace(STEPS[2], round=4)),
    "task": noise("job", KEY, replace(STEPS[2], task=4)),
    "updates": noise("job", KEY, replace(STEPS[2], updates="f" * 64)),
    "job": noise("other"),
    "key": noise("job", NoiseKey(bytes(range(1, 33)))),
    "noise multiplier": noise(strategy=louder(noise_multiplier=2.0)),
    "clipping norm": noise(strategy=louder(clipping_norm=0.5)),
    "aggregator": noise(strategy=replace(STRATEGY, aggregator=PluginChoice(id="median"))),
    "round and task as one number": noise("job", KEY, replace(STEPS[2], round=33, task=3)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_differs_in_one_thing_gives_other_noise(what: str) -> None:
    """The difference of two results with the same noise would have none.

    Nor would twice a result, less that with twice the noise multiplier: the same updates can come
    to a job of the same id in another repository, or after its data were removed.
    """
    one, other = noise().normals(0, 200_000), OTHERS[what].normals(0, 200_000)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.01  # 4.5 standard deviations
    assert noise().normal("a") != OTHERS[what].normal("a")


def test_numbers_by_name_are_no_numbers_of_weights() -> None:
    """The noise in a count must not be known from the noise in a weight."""
    named = {noise().normal(name) for name in ("a", "b", "")}
    assert len(named) == 3
    assert noise().normal("a") == noise().normal("a")
    assert not named & set(noise().normals(0, 1000).tolist())


@pytest.mark.parametrize("wrong", [(-1, 1, 0), (0, -1, 0), (0, 1, 3), (0, 1, -1)])
def test_numbers_that_do_not_exist_are_refused(wrong: tuple[int, int, int]) -> None:
    """There is no noise of a later step, or before the first number."""
    start, count, back = wrong
    with pytest.raises(ValueError, match=r"expected start and count of at least 0, and back from"):
        noise().normals(start, count, back)
    with pytest.raises(ValueError, match="got none"):
        KeyedNoise(KEY, "job", [], STRATEGY)


def test_the_key_is_in_no_text() -> None:
    """A log with the noise's source in it must not give the noise away."""
    texts = [repr(KEY), str(KEY), repr(noise()), str(vars(noise()))]
    for secret in (KEY.secret.hex(), repr(KEY.secret), str(list(KEY.secret))):
        assert not [text for text in texts if secret in text]
    assert repr(noise()) == "KeyedNoise(job='job', step=2)"
    assert KEY.digest == hashlib.sha256(bytes(range(32))).hexdigest()
