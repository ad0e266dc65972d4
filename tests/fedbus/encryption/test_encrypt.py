"""An encrypted sum decrypts to the sum of whole numbers, bit by bit, or is refused."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbus.encryption.ciphertext_addition import add_update
from fedbus.encryption.ciphertext_frames import ciphertext_bounds, ciphertexts_in
from fedbus.encryption.encrypt import decrypt_version, encrypt_update
from fedbus.encryption.encrypted_blob import (
    EncryptedHeader,
    encrypted_header_bytes,
    read_encrypted_header,
)
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.parameters import choose_parameters, fields_for
from fedbus.encryption.tenseal_contexts import loaded_context
from fedbus.errors import EncryptionError, LayoutError
from fedbus.model.fixed_point import from_fixed_point, to_fixed_point
from fedbus.model.layout import Array, Layout, Tensor
from tests.fedbus.encryption.encryption_examples import (
    BFV,
    CKKS,
    LAYOUT,
    encrypted,
    header_of,
    key_of,
    terms_of,
    update_of,
)


def total_of(blobs: Sequence[bytes], header: EncryptedHeader, key: SecretKey) -> bytes:
    """Return the blob of the sum of updates, added with the public key."""
    context, total = loaded_context(key.public.context), None
    with TemporaryDirectory() as folder:
        for blob in blobs:
            (Path(folder) / "update").write_bytes(blob)
            add_update(
                total,
                Path(folder) / "update",
                Path(folder) / "sum",
                header,
                context,
                key.parameters,
            )
            total = Path(folder) / "sum"
        return (Path(folder) / "sum").read_bytes()


@settings(max_examples=6, deadline=None)
@given(
    agents=st.integers(1, 100),
    bits=st.integers(4, 24),
    ranges=st.tuples(*[st.integers(-6, 2)] * 3),
    seed=st.integers(0, 2**31),
)
def test_the_sum_of_updates_is_that_of_their_whole_numbers(
    agents: int, bits: int, ranges: tuple[int, ...], seed: int
) -> None:
    """For every number of agents: BFV and the packing lose nothing, clipping included."""
    key = key_of()
    header = header_of(key, ranges=ranges, terms=terms_of(key, bits=bits))
    examples = np.random.default_rng(seed).integers(1, 15, agents).tolist()
    blobs = [encrypted(key, seed + number, each, header) for number, each in enumerate(examples)]
    counted = [min(each, 10) for each in examples]
    whole = sum(
        to_fixed_point(
            update_of(seed + number),
            LAYOUT,
            ranges,
            bits,
            each / 10,
            np.random.default_rng(seed + number),
        )
        for number, each in enumerate(counted)
    )
    assert isinstance(whole, np.ndarray)
    expected = from_fixed_point(whole, LAYOUT, ranges, bits, agents, sum(counted) / 10)
    blob = total_of(blobs, header, key)
    found, _ = read_encrypted_header(blob)
    assert (found.count, found.weight) == (agents, sum(counted))
    decrypted = decrypt_version(blob, LAYOUT, key)
    assert decrypted.keys() == expected.keys()
    for name, distances in decrypted.items():
        assert distances.dtype == np.float64
        assert np.array_equal(distances, expected[name])


@pytest.mark.parametrize(
    ("bits", "agents"), [(11, 100), (16, 100), (9, 100), (14, 100), (24, 3), (10, 1)]
)
def test_the_greatest_numbers_of_all_agents_do_not_overflow(bits: int, agents: int) -> None:
    """Every field is full: the sum is the largest that there can be, with the noise of all."""
    key = key_of(choose_parameters(bits=bits, agents=agents))
    terms = terms_of(key, bits=bits, agents=agents, max_examples=1)
    assert terms.fields == fields_for(bits, agents, key.parameters.plain_modulus)
    header = header_of(key, terms=terms, max_examples=1)
    update = {name: np.full_like(array, 2.0) for name, array in update_of(1).items()}
    blob = encrypted(key, 1, 1, header, update=update)
    total = total_of([blob] * agents, header, key)
    for distances in decrypt_version(total, LAYOUT, key).values():
        assert np.abs(distances - 1).max() < 1e-15 * agents
    with pytest.raises(EncryptionError, match=f"one update more than the {agents} that may be"):
        total_of([blob] * (agents + 1), header, key)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("numbers", [1, 4094, 4095, 4096, 8190, 8191])
def test_every_shape_and_dtype_comes_back(dtype: str, numbers: int) -> None:
    """One number, full ciphertexts, and one number more than fits."""
    key = key_of()
    layout = Layout(
        (
            Tensor("a", (numbers,), dtype),
            Tensor("kept here", (2,), "int64", "local"),
            Tensor("b", (1, 1), "float32", "statistic"),
        )
    )
    update = update_of(3, layout)
    found = decrypt_version(encrypted(key, layout=layout, update=update), layout, key)
    assert list(found) == ["a", "b"]
    for name, distances in found.items():
        assert distances.shape == update[name].shape
        error = np.abs(distances - np.clip(update[name].astype(float), -1, 1)).max()
        assert error <= 1 / 1023 / 0.4 + 1e-12  # one step, of an agent with the weight 0.4


@pytest.mark.parametrize("agents", [1, 2, 10])
def test_a_ckks_sum_has_a_small_error(agents: int) -> None:
    """At most 1e-4 of the range, in the mean of agents with different weights and ranges."""
    key, ranges = key_of(CKKS), (-3, 0, 4)
    header = header_of(key, ranges=ranges)
    weights = [1 + number % 10 for number in range(agents)]
    blobs = [encrypted(key, number, each, header) for number, each in enumerate(weights)]
    found = decrypt_version(total_of(blobs, header, key), LAYOUT, key)
    for exponent, tensor in zip(ranges, LAYOUT.shared, strict=True):
        limit = 2.0**exponent
        expected = sum(
            each * np.clip(update_of(number)[tensor.name].astype(float), -limit, limit)
            for number, each in enumerate(weights)
        ) / sum(weights)
        assert np.abs(found[tensor.name] - expected).max() <= 1e-4 * limit * 10


def test_two_encryptions_of_one_update_differ() -> None:
    """Even with the same rounding: the noise and the seed are the system's random numbers."""
    one, other = encrypted(key_of()), encrypted(key_of())
    _, offset = read_encrypted_header(one)
    assert one[:offset] == other[:offset]
    assert one[offset:] != other[offset:]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda u: {**u, "bias": np.array([1, np.nan, 0], "f4")}, EncryptionError, "'bias' of the"),
        (lambda u: {**u, "scale": np.array(np.inf, "f4")}, EncryptionError, "not finite"),
        (lambda u: {**u, "bias": u["bias"].astype("f8")}, LayoutError, "float64"),
        (lambda u: {"bias": u["bias"]}, LayoutError, "weights lack kernel, scale"),
    ],
)
def test_an_update_that_cannot_be_encrypted_is_refused(
    change: Callable[[dict[str, Array]], dict[str, Array]], error: type[Exception], said: str
) -> None:
    """Not a number would become a large one."""
    with pytest.raises(error, match=said):
        encrypted(key_of(), update=change(update_of(1)))


def test_whole_numbers_and_no_examples_are_refused() -> None:
    """A layout with shared whole numbers has no header, and a weight is above 0."""
    key = key_of()
    whole = Layout((*LAYOUT.tensors, Tensor("steps", (1,), "int64")))
    header = replace(header_of(key), layout=whole.digest)
    with pytest.raises(LayoutError, match="only floating-point tensors"):
        encrypt_update({}, whole, header, 1, key, np.random.default_rng(1))
    with pytest.raises(EncryptionError, match="an update of 0 examples"):
        encrypted(key, examples=0)


def _rewritten(blob: bytes, **change: object) -> bytes:
    """Return a blob with a header that lies."""
    header, offset = read_encrypted_header(blob)
    return encrypted_header_bytes(replace(header, **change)) + blob[offset:]  # type: ignore[arg-type] # a lie


@pytest.mark.parametrize("parameters", [BFV, CKKS], ids=["bfv", "ckks"])
def test_a_version_of_another_key_is_refused(parameters: object) -> None:
    """By its id; and if the header lies about it, by the canary."""
    mine, other = key_of(parameters), key_of(parameters, 1)  # type: ignore[arg-type] # both are
    blob = encrypted(other)
    with pytest.raises(EncryptionError, match=f"with key {other.id[:12]}, and the secret key here"):
        decrypt_version(blob, LAYOUT, mine)
    lie = _rewritten(blob, key=mine.id, parameters=header_of(mine).parameters)
    with pytest.raises(EncryptionError, match=r"its canary is .* and not 1, so it was damaged"):
        decrypt_version(lie, LAYOUT, mine)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parameters": "0" * 64}, "the digest of the parameters is not that of the key's"),
        ({"scheme": "ckks"}, "the digest of the parameters is not that of the key's"),
        ({"fields": 1}, "the digest of the parameters is not that of the key's"),
        ({"count": 2, "weight": 8}, "its canary is 1 and not 2"),
        ({"agents": 5000}, "5000 agents with 2 numbers of 11 bits in a slot, of which the sum"),
        ({"bits": 24}, "100 agents with 2 numbers of 24 bits in a slot"),
        ({"ciphertexts": 2}, "2 ciphertexts of layout .* where 1 of layout"),
        ({"layout": "0" * 64}, "an encrypted blob of layout 000000000000"),
        ({"ranges": (0, 0)}, "2 ranges for 3 shared tensors"),
    ],
)
def test_a_header_that_lies_is_refused_at_decryption(change: dict[str, object], said: str) -> None:
    """The collector that wrote it may be wrong, or not honest."""
    with pytest.raises(EncryptionError, match=said):
        decrypt_version(_rewritten(encrypted(key_of()), **change), LAYOUT, key_of())


def test_encrypting_checks_the_header_as_decrypting_does() -> None:
    """A task with the header of another key or layout is refused before training is lost."""
    with pytest.raises(EncryptionError, match="encrypted with key"):
        encrypted(key_of(), header=header_of(key_of(number=1)))
    other = Layout((Tensor("a", (3,), "float32"),))
    with pytest.raises(EncryptionError, match="1 ciphertexts of layout"):
        encrypted(key_of(), header=replace(header_of(key_of()), layout=other.digest))


@pytest.mark.parametrize("parameters", [BFV, CKKS], ids=["bfv", "ckks"])
def test_a_damaged_ciphertext_is_refused_or_harmless(parameters: object) -> None:
    """One flipped bit in every region: it never changes the numbers without being noticed."""
    key = key_of(parameters)  # type: ignore[arg-type] # both are parameters
    blob = encrypted(key)
    expected, refused = decrypt_version(blob, LAYOUT, key), 0
    _, offset = read_encrypted_header(blob)
    start = [offset + at for at in range(4, 160)]  # TenSEAL's message and SEAL's header
    for place in [*start, *range(offset + 160, len(blob), len(blob) // 40), len(blob) - 1]:
        damaged = bytearray(blob)
        damaged[place] ^= 1 << (place % 8)
        try:
            found = decrypt_version(damaged, LAYOUT, key)
        except EncryptionError:
            refused += 1
        else:
            assert all(
                np.array_equal(found[n], expected[n]) or key.parameters == CKKS for n in found
            )
            assert all(np.allclose(found[n], expected[n], atol=1e-3) for n in found)
    assert refused > 100


def test_a_cut_version_is_refused() -> None:
    """At every boundary between its parts, and inside them."""
    key, blob = key_of(), encrypted(key_of())
    _, offset = read_encrypted_header(blob)
    for size in (
        0,
        3,
        8,
        offset - 1,
        offset,
        offset + 2,
        offset + 4,
        len(blob) // 2,
        len(blob) - 1,
    ):
        with pytest.raises(EncryptionError):
            decrypt_version(blob[:size], LAYOUT, key)
    with pytest.raises(EncryptionError, match="1 bytes follow the 1 ciphertexts"):
        decrypt_version(blob + b"\0", LAYOUT, key)
    bounds = ciphertext_bounds(BFV)
    (one,) = ciphertexts_in(blob, offset, 1, bounds)
    assert len(one) == len(blob) - offset - 4
