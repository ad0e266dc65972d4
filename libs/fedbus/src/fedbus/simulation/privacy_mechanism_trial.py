"""Trial of a privacy mechanism, as agents and a collector call it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from fedbus.plugins import (
    Block,
    Combined,
    PrivateTraining,
    PrivateUpdate,
    ProtectsCombined,
    ProtectsUpdate,
    RoundNoise,
    UpdateFacts,
)
from fedbus.plugins.agent_part_checks import checked_update
from fedbus.plugins.part_caller import PartCaller
from fedbus.plugins.privacy_mechanism_calls import PrivacyMechanismCalls
from fedbus.privacy.secret_noise import EphemeralNoise
from fedbus.simulation.agent_part_trial import norms_text, small_update
from fedbus.simulation.aggregator_trial import NUMBERS, check_fits_float32, same_numbers

COHORT: Final = 5
LONG: Final = 1e30
"""The norm of an update that no clipping norm allows."""
_CUT: Final = 70


class TrialNoise:
    """Repeatable numbers in place of a round's noise: they keep nothing secret."""

    step = 2

    def normals(self, start: int, count: int, /, back: int = 0) -> Block:
        """Return standard normal numbers by position."""
        return np.random.default_rng(back).normal(size=start + count)[start:]

    def normal(self, name: str, /) -> float:
        """Return a number by name."""
        return float(np.random.default_rng(len(name)).normal())


def try_privacy_mechanism(part: object, caller: PartCaller) -> Iterator[str]:
    """Protect an update and a combined update; yield nothing for a part that is no mechanism.

    Raises:
        PluginError: The mechanism failed or returned what an agent or a collector refuses, or the
            result depends on where a block ends.
    """
    bit = None
    if isinstance(part, ProtectsUpdate):
        update = small_update()
        protected = _protected(part, caller)
        found = caller(lambda: checked_update(protected.update, update))
        bit = protected.norm_bit
        with_bit = "" if bit is None else f", with the norm bit {bit:g}"
        became = f"{norms_text('an update', update)} became {norms_text('one', found)}"
        yield f"agent: {became}{with_bit}"
    if isinstance(part, ProtectsCombined):
        yield from _combined(PrivacyMechanismCalls(part, caller), bit)
    elif hasattr(part, "add_noise"):
        raise caller.error(
            "add_noise: a collector calls refuses_update and next_private_numbers as well; write "
            "all three"
        )


def _protected(part: ProtectsUpdate, caller: PartCaller) -> PrivateUpdate:
    training = PrivateTraining(noise=EphemeralNoise(), cohort=COHORT)
    found: object = caller(lambda: part.protect(small_update(), training))
    if not isinstance(found, PrivateUpdate):
        raise caller.error(f"protect: expected a PrivateUpdate, got a {type(found).__name__}")
    return found


def _combined(calls: PrivacyMechanismCalls, bit: float | None) -> Iterator[str]:
    facts = UpdateFacts(agent="agent.1", examples=1, norm_bit=bit, norm=LONG)
    if reason := calls.refuses_update(facts, {}):
        yield f"collector: an update of norm {LONG:g} is refused: {reason}"
    noise: RoundNoise | None = TrialNoise() if calls.collector_draws_noise else None
    numbers = calls.next_numbers({}, [replace(facts, norm=0.0)] * COHORT, noise)
    combined = _sample(numbers)
    new = calls.add_noise(combined, noise).update
    check_fits_float32(calls.caller, "the result of add_noise", new)
    halves = [
        calls.add_noise(
            replace(combined, update=combined.update[cut], position=cut.start), noise
        ).update
        for cut in (slice(0, _CUT), slice(_CUT, NUMBERS))
    ]
    if not same_numbers(new, np.concatenate(halves)):
        raise calls.caller.error(
            "add_noise: a block cut in two gave other numbers; the collector cuts a model into "
            "blocks of any length: draw the noise at combined.position"
        )
    said = [f"number {name} {value:.4g}" for name, value in numbers.items()]
    yield (
        f"collector: a combined update of norm {combined.norm:.4g} became one of "
        f"{np.linalg.norm(new):.4g}; {', '.join(said) or 'no numbers'}"
    )


def _sample(numbers: Mapping[str, float]) -> Combined:
    update = np.random.default_rng(0).normal(0, 0.1, NUMBERS)
    norm = float(np.linalg.norm(update))
    return Combined(update=update, agents=COHORT, numbers=numbers, norm=norm, distance=norm)
