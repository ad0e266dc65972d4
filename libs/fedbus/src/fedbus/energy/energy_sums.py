"""Sums of energy: of the contributors of a round, and of the rounds of a job. Pure."""

from collections.abc import Iterable
from math import fsum

from fedbus.wire.energy import MOST_ENERGY, PHASES, EnergyUsed


def total_energy(parts: Iterable[EnergyUsed | None]) -> EnergyUsed | None:
    """Return the sum of what is known, at most `MOST_ENERGY` each; None if nothing is known."""
    known = [each for each in parts if each is not None]
    if not known:
        return None
    joules = {phase: _sum(each.joules.get(phase, 0.0) for each in known) for phase in PHASES}
    return EnergyUsed(
        joules={phase: value for phase, value in joules.items() if value},
        grams=_sum(each.grams for each in known),
    )


def _sum(amounts: Iterable[float]) -> float:
    return min(MOST_ENERGY, fsum(amounts))


def format_energy(energy: EnergyUsed, *, phases: bool = True) -> str:
    """Format energy for people: `1.2 Wh, 460 mg CO2 (training 1.1 Wh, transfer 100 mWh)`."""
    hours = {phase: energy.joules[phase] / 3600 for phase in PHASES if phase in energy.joules}
    listed = ", ".join(f"{phase} {_amount(value, 'Wh')}" for phase, value in hours.items())
    parts = f" ({listed})" if phases and len(hours) > 1 else ""
    return f"{_amount(fsum(hours.values()), 'Wh')}, {_amount(energy.grams, 'g')} CO2{parts}"


def _amount(value: float, unit: str) -> str:
    """Format an amount with three digits, and with the prefix that keeps small ones readable."""
    for prefix, size in (("", 1.0), ("m", 1e-3), ("µ", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value / 1e-6:.2g} µ{unit}" if value else f"0 {unit}"
