"""Energy in messages and records: what a training, an evaluation or a round used, and its CO2."""

from dataclasses import dataclass
from typing import Annotated, Final

from fedbus.scalars import Bounds, Ident, Strict

PHASES: Final = ("training", "evaluation", "transfer", "idle")
"""The phases of an agent's work; `transfer` is what networks use for the agent's bytes."""

MOST_ENERGY: Final = 1e18
"""Most joules or grams of one phase, and of a sum: more than all power stations make in an hour."""

Amount = Annotated[float, Strict(ge=0, le=MOST_ENERGY)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyUsed:
    """Joules by phase (`PHASES`), and the grams of CO2 equivalent of all phases together."""

    joules: Annotated[dict[Ident, Amount], Bounds(max_length=len(PHASES))]
    grams: Amount
