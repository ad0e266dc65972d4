"""Parts of a job's strategy, loaded by their ids, and which parameters reach each of them."""

from collections.abc import Collection
from dataclasses import dataclass

from fedbus.jobs import StrategyConfig, choice_of
from fedbus.jobs.plugin_options import ChoiceConfig
from fedbus.jobs.privacy_choice import MECHANISMS
from fedbus.plugins import Preset
from fedbus.strategies.chosen_parts import WHOLE, Given, StrategyPart, load_part
from fedbus.strategies.mechanism_part import misplaced_mechanism
from fedbus.strategies.part_factories import PartGroup
from fedbus.training.params import PluginChoice


@dataclass(frozen=True, slots=True)
class LoadedParts:
    """The parts of one strategy, before they are made."""

    aggregator: StrategyPart
    server_optimizer: StrategyPart | None
    objective: StrategyPart | None
    transforms: tuple[StrategyPart, ...]

    @property
    def named(self) -> tuple[StrategyPart, ...]:
        """The parts that get the strategy's parameters."""
        chosen = (self.objective, self.aggregator, self.server_optimizer)
        return tuple(part for part in chosen if part is not None)

    def reaching(self, part: StrategyPart, given: Given) -> Given:
        """Return the strategy's parameters that reach a part.

        One may reach several parts, as FedDyn's `alpha` does: they must not differ. A part that
        takes any name gets those that no part states.
        """
        if part in self.transforms:
            return {}
        stated = {name for each in self.named for name in each.takes.named}
        return {
            name: each
            for name, each in given.items()
            if name in part.takes.named or (part.takes.any_name and name not in stated)
        }

    @property
    def all(self) -> tuple[StrategyPart, ...]:
        """The named parts, and then the update transforms in their order."""
        return (*self.named, *self.transforms)


def load_parts(
    config: StrategyConfig, preset: Preset, allowed: Collection[str] | None
) -> LoadedParts:
    """Return the preset's parts, or those that a job names in their places, with their faults."""

    def part(
        group: PartGroup, slot: str, chosen: ChoiceConfig | None, default: PluginChoice | None
    ) -> StrategyPart | None:
        choice = default if chosen is None else choice_of(chosen)
        if choice is None:
            return None
        return load_part(group, choice, WHOLE if chosen is None else f"{WHOLE}.{slot}", allowed)

    aggregator = part("aggregators", "aggregator", config.aggregator, preset.aggregator)
    assert aggregator is not None  # noqa: S101 - every preset has one
    return LoadedParts(
        aggregator,
        part(
            "server_optimizers",
            "server_optimizer",
            config.server_optimizer,
            preset.server_optimizer,
        ),
        part("objectives", "objective", config.objective, preset.objective),
        tuple(
            _load_transform(each, f"{WHOLE}.update_transforms[{n}]", allowed)
            for n, each in enumerate(config.update_transforms)
        ),
    )


def _load_transform(
    chosen: ChoiceConfig, key: str, allowed: Collection[str] | None
) -> StrategyPart:
    part = load_part("update_transforms", choice_of(chosen), key, allowed)
    if part.id in MECHANISMS:
        part.faults = [misplaced_mechanism(part.id, key)]
        part.factory = None
    return part
