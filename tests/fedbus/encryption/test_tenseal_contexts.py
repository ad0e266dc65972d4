"""A ciphertext is checked for its form before it is added: TenSEAL adds other forms as well."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tenseal import bfv_vector_from, ckks_vector, context_from

from fedbus.encryption import tenseal_contexts
from fedbus.encryption.parameters import EncryptionParameters, choose_parameters
from fedbus.encryption.tenseal_contexts import (
    SlotEncryption,
    decrypted,
    loaded_context,
    new_context,
    parsed_ciphertext,
    saved_context,
    saved_file,
)
from fedbus.errors import EncryptionError, SettingsError
from tests.fedbus.encryption.encryption_examples import BFV, CKKS, key_of


def encrypted_slots(parameters: EncryptionParameters, slots: NDArray[Any]) -> bytes:
    """Return one ciphertext."""
    encryption = SlotEncryption(loaded_context(key_of(parameters).context), parameters)
    with saved_file() as path:
        return encryption.encrypt(slots, path)


def test_slots_come_back_up_to_the_modulus() -> None:
    """TenSEAL gives numbers above t / 2 as negative ones."""
    slots = np.zeros(BFV.slots, np.int64)
    slots[:4] = [0, 1, BFV.plain_modulus // 2 + 1, BFV.plain_modulus - 1]
    context = loaded_context(key_of().context)
    vector = parsed_ciphertext(context, BFV, encrypted_slots(BFV, slots))
    assert (decrypted(vector, BFV) == slots).all()


def test_ckks_comes_back_with_a_small_error() -> None:
    """At most 1e-4 with the default scale of 2^26."""
    slots = np.linspace(-1, 1, CKKS.slots)
    context = loaded_context(key_of(CKKS).context)
    vector = parsed_ciphertext(context, CKKS, encrypted_slots(CKKS, slots))
    assert np.abs(decrypted(vector, CKKS) - slots).max() < 1e-4


@pytest.mark.parametrize("parameters", [BFV, choose_parameters(bits=16, agents=1000)], ids=str)
def test_the_noise_of_a_fresh_ciphertext_is_within_the_bound(
    parameters: EncryptionParameters,
) -> None:
    """The bound of 22 leaves noise of `most_agents` ciphertexts below what decryption tolerates."""
    from tenseal import sealapi

    slots = np.random.default_rng(1).integers(0, parameters.plain_modulus, parameters.slots)
    context = context_from(key_of(parameters).context)
    vector = bfv_vector_from(context, encrypted_slots(parameters, slots))
    seal = sealapi.Decryptor(context.seal_context().data, context.secret_key().data)
    room = 2 ** seal.invariant_noise_budget(vector.ciphertext()[0])
    assert room >= parameters.most_agents / 2
    doublings = parameters.most_agents.bit_length() - 1
    for _ in range(doublings):  # noise that is the same doubles: the worst case
        vector += vector
    small = slots.astype(object) * 2**doublings % parameters.plain_modulus
    assert (decrypted(vector, parameters) == small).all()


def test_a_ciphertext_of_another_form_is_refused() -> None:
    """A product of three polynomials, one with fewer primes, one of another scale."""
    context = context_from(key_of().context)
    context.auto_relin = False
    one = bfv_vector_from(context, encrypted_slots(BFV, np.ones(BFV.slots, np.int64)))
    with pytest.raises(EncryptionError, match="3 polynomials and 1 primes where 2 and 1 are"):
        parsed_ciphertext(context, BFV, (one * one).serialize())
    context = context_from(key_of(CKKS).context)
    wrong = ckks_vector(context, [1.0] * CKKS.slots, scale=2.0**25).serialize()
    with pytest.raises(EncryptionError, match=r"a ciphertext of scale 33554432.0 where 2\^26 is"):
        parsed_ciphertext(context, CKKS, wrong)
    few = ckks_vector(context, [1.0] * 3).serialize()
    with pytest.raises(EncryptionError, match="1 ciphertexts of 3 slots where one of 2048 is"):
        parsed_ciphertext(context, CKKS, few)


def test_contexts_are_saved_with_or_without_the_secret() -> None:
    """What a service gets has no secret, and saving is deterministic: the id is its hash."""
    context = loaded_context(key_of().context)
    public = loaded_context(saved_context(context, secret=False))
    assert context.has_secret_key()
    assert not public.has_secret_key()
    assert not public.has_galois_keys()
    assert saved_context(public, secret=False) == key_of().public.context
    for raw in (b"", b"x", os.urandom(1000), key_of().public.context[:-100]):
        with pytest.raises(EncryptionError, match="no context of TenSEAL"):
            loaded_context(raw)


def test_parameters_that_seal_cannot_use_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason is in the message."""
    wrong = EncryptionParameters("bfv", 4096, (54, 55), BFV.plain_modulus)
    monkeypatch.setattr(EncryptionParameters, "__post_init__", lambda _self: None)
    wrong = EncryptionParameters("bfv", 4096, (60, 60, 60), BFV.plain_modulus)
    with pytest.raises(SettingsError, match="TenSEAL cannot use these parameters: "):
        new_context(wrong)


def test_without_memory_files_a_temporary_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, which has none."""
    monkeypatch.delattr(os, "memfd_create")
    with saved_file() as path:
        assert Path(path).is_file()
    assert encrypted_slots(BFV, np.ones(BFV.slots, np.int64))


def test_without_tenseal_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is optional."""
    monkeypatch.setitem(sys.modules, "tenseal", None)
    with pytest.raises(SettingsError, match=r'needs TenSEAL: pip install "fedbus\[encryption\]"'):
        tenseal_contexts.tenseal()


def test_nothing_loads_tenseal_before_it_is_needed() -> None:
    """A controller reads keys and headers without it, an agent of a plain job never loads it."""
    modules = [
        f"fedbus.encryption.{path.stem}"
        for path in sorted(Path(tenseal_contexts.__file__).parent.glob("*.py"))
        if path.stem != "__init__"
    ]
    script = f"import sys, {', '.join(modules)}\nprint('tenseal' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert len(modules) > 10
    assert done.stdout.strip() == "False"
