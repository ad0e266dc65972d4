"""Calls of a privacy mechanism's half at the collector, checked as those of the other parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.plugins.collector_part_calls import combined_for
from fedbus.plugins.part_caller import PartCaller
from fedbus.plugins.privacy_protocols import ProtectsCombined, RoundNoise
from fedbus.plugins.strategy_numbers import with_changes
from fedbus.plugins.strategy_protocols import Combined, UpdateFacts

_ATTRIBUTES: Final = (
    "needs_norm",
    "needs_combined_norm",
    "needs_distance",
    "collector_draws_noise",
)


@dataclass(frozen=True, slots=True)
class PrivacyMechanismCalls:
    """The methods and optional attributes of a mechanism's half at the collector.

    Raises:
        PluginError: An attribute is neither True nor False.
    """

    part: ProtectsCombined
    caller: PartCaller

    def __post_init__(self) -> None:
        """Validate the attributes."""
        for name in _ATTRIBUTES:
            value: object = getattr(self.part, name, False)
            if not isinstance(value, bool):
                raise self.caller.error(f"{name} is {value!r}; expected True or False")

    @property
    def needs_norm(self) -> bool:
        """Whether the collector measures each update."""
        return self._is_set("needs_norm")

    @property
    def needs_combined_norm(self) -> bool:
        """Whether the collector measures the combined update."""
        return self._is_set("needs_combined_norm")

    @property
    def needs_distance(self) -> bool:
        """Whether the collector measures the greatest distance of two updates."""
        return self._is_set("needs_distance")

    @property
    def collector_draws_noise(self) -> bool:
        """Whether it draws noise with the collectors' key."""
        return self._is_set("collector_draws_noise")

    def _is_set(self, name: str) -> bool:
        return cast("bool", getattr(self.part, name, False))

    def refuses_update(self, facts: UpdateFacts, numbers: Mapping[str, float]) -> str:
        """Return why an update breaks a bound that its agent had to keep; empty if it does not."""
        reason: object = self.caller(lambda: self.part.refuses_update(facts, dict(numbers)))
        if not isinstance(reason, str):
            kind = type(reason).__name__
            raise self.caller.error(f"refuses_update returned a {kind}; expected a text")
        return reason[:MAX_TEXT_CHARACTERS]

    def next_numbers(
        self,
        numbers: Mapping[str, float],
        facts: Sequence[UpdateFacts],
        noise: RoundNoise | None,
    ) -> dict[str, float]:
        """Return the numbers of a strategy with those that the mechanism changes or adds."""
        found: object = self.caller(
            lambda: self.part.next_private_numbers(dict(numbers), tuple(facts), noise)
        )
        return with_changes(numbers, found, self.caller, "next_private_numbers")

    def add_noise(self, combined: Combined, noise: RoundNoise | None) -> Combined:
        """Return the combined update with the mechanism's noise in its `update`."""
        given = combined_for(combined, self.caller)
        found = self.caller(lambda: self.part.add_noise(given, noise), "add_noise (combined)")
        update = self.caller.block(found, len(combined.update), "the result of add_noise")
        return replace(combined, update=update)
