"""Parts of private rounds: a mechanism with visible steps, and noise that is no secret."""

from collections.abc import Mapping, Sequence

import numpy as np

from fedbus.plugins import Block, Combined, RoundNoise, UpdateFacts


class PlainNoise:
    """Numbers that say what they were drawn for: position + 1000 * back."""

    step = 2

    def normals(self, start: int, count: int, back: int = 0) -> Block:
        """Return the positions."""
        return np.arange(start, start + count, dtype=np.float64) + 1000.0 * back

    def normal(self, name: str) -> float:
        """Return the length of the name."""
        return float(len(name))


class AddsNoise:
    """A mechanism that refuses long updates, counts rounds, and remembers what it was given."""

    def __init__(self, clipping_norm: float = 10.0, **attributes: bool) -> None:
        self.clipping_norm = clipping_norm
        self.collector_draws_noise = self.needs_norm = True
        self.needs_combined_norm = self.needs_distance = False
        self.__dict__.update(attributes)
        self.facts: tuple[UpdateFacts, ...] = ()
        self.seen: list[Combined] = []

    def refuses_update(self, facts: UpdateFacts, numbers: Mapping[str, float]) -> str:
        """Refuse an update that is longer than the clipping norm, which may be one of the state."""
        most = numbers.get("clipping_norm", self.clipping_norm)
        if facts.norm is None or facts.norm <= most:
            return ""
        return f"its norm is {facts.norm:g}, above {most:g}"

    def next_private_numbers(
        self,
        numbers: Mapping[str, float],
        facts: Sequence[UpdateFacts],
        noise: RoundNoise | None,
    ) -> Mapping[str, float]:
        """Halve the clipping norm, and add the noise of the name "count"."""
        del numbers
        self.facts = tuple(facts)
        count = len(facts) + (0.0 if noise is None else noise.normal("count"))
        return {"clipping_norm": self.clipping_norm / 2, "count": count}

    def add_noise(self, combined: Combined, noise: RoundNoise | None) -> Block:
        """Add the numbers of this round."""
        self.seen.append(combined)
        if noise is None:
            return combined.update
        return combined.update + noise.normals(combined.position, len(combined.update))
