"""Noise at a fixed seed, and updates to protect."""

from collections.abc import Mapping

import numpy as np

from fedbus.model.layout import Weights
from fedbus.plugins import Block, PrivateTraining, ProtectsUpdate
from fedbus.privacy.noise import KeyedNoise
from fedbus.privacy.noise_key import NoiseKey
from fedbus.privacy.secret_noise import EphemeralNoise
from fedbus.wire.privacy import NoiseStep
from tests.fedbus.privacy.privacy_examples import STRATEGY

KEY = NoiseKey(bytes(range(32)))
NUMBERS = 200_000


def step_of(number: int) -> NoiseStep:
    """Return what the noise of a round is drawn from."""
    return NoiseStep(round=number, task=number, updates=f"{number:064x}")


def round_noise(rounds: int = 1) -> KeyedNoise:
    """Return the noise of the last of these rounds."""
    steps = [step_of(number) for number in range(1, rounds + 1)]
    return KeyedNoise(KEY, "job", steps, STRATEGY)


def secret_noise(seed: int = 0) -> EphemeralNoise:
    """Return an agent's noise, with random bytes of a seed."""
    return EphemeralNoise(np.random.default_rng(seed).bytes)


def training(seed: int = 0, numbers: Mapping[str, float] | None = None) -> PrivateTraining:
    """Return what an agent's half knows."""
    return PrivateTraining(noise=secret_noise(seed), numbers=numbers or {}, cohort=4)


def zeros(count: int = NUMBERS) -> Weights:
    """Return an update that changes nothing, in two tensors."""
    return {"a": np.zeros((2, count // 4), np.float32), "b": np.zeros(count // 2, np.float32)}


def flat(update: Weights) -> Block:
    """Return all numbers of an update."""
    numbers: Block = np.concatenate([array.reshape(-1) for array in update.values()])
    return numbers.astype(np.float64)


def agent_noise(mechanism: ProtectsUpdate, seed: int = 0) -> Block:
    """Return what an agent adds to an update of zeros."""
    return flat(mechanism.protect(zeros(), training(seed)).update)
