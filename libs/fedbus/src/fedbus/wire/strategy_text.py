"""Text for people about strategies: what one is made of, and how two differ. Pure."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

from fedbus.training.params import PluginChoice
from fedbus.wire.encryption import UNKNOWN_KEY_ID
from fedbus.wire.privacy_text import format_terms
from fedbus.wire.strategies import Strategy

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def format_strategy(strategy: Strategy) -> str:
    """Format a strategy: `fedadam: mean(weighted=True), server optimizer adam(tau=0.001)`."""
    parts = [format_choice(strategy.aggregator)]
    if strategy.server_optimizer is not None:
        parts.append(f"server optimizer {format_choice(strategy.server_optimizer)}")
    if strategy.objective is not None:
        parts.append(f"objective {format_choice(strategy.objective)}")
    parts += [f"transform {format_choice(each)}" for each in strategy.update_transforms]
    if strategy.population is not None:
        parts.append(f"population {strategy.population}")
    if strategy.privacy is not None:
        parts.append(format_terms(strategy.privacy))
    parts += (*_protections(strategy), *_steps(strategy))
    if strategy.measures_energy:
        parts.append("energy measured")
    return f"{strategy.id}: {', '.join(parts)}"


def format_protection(strategy: Strategy) -> str:
    """Format how updates are hidden from the collector; "" if they are not."""
    return ", ".join(_protections(strategy))


def format_steps(strategy: Strategy) -> str:
    """Format what makes updates and versions smaller, and rounds fewer; "" if nothing does."""
    return ", ".join(_steps(strategy))


def _protections(strategy: Strategy) -> Iterator[str]:
    if (encryption := strategy.encryption) is not None:
        unknown = encryption.key == UNKNOWN_KEY_ID
        key = "the controller's key" if unknown else f"key {encryption.key[:12]}"
        yield f"updates encrypted with {encryption.scheme} and {key}"
    if (masking := strategy.masking) is not None:
        yield (
            f"updates masked among at most {masking.neighbours} neighbours with threshold "
            f"{masking.threshold:g}"
        )
    if (fixed_point := strategy.fixed_point) is not None and _has_bits(strategy):
        yield f"{fixed_point.bits} bits a number"


def _steps(strategy: Strategy) -> Iterator[str]:
    """Yield how updates and versions are made smaller."""
    for what, chain in (("updates", strategy.compression), ("versions", strategy.download)):
        if chain:
            yield f"{what} made smaller by {' and '.join(map(format_choice, chain))}"
    if strategy.freezing is not None:
        yield "stable parameters frozen"
    if strategy.sync is not None:
        yield f"{strategy.sync.epochs} epochs between rounds, which shrink"


def _has_bits(strategy: Strategy) -> bool:
    return strategy.encryption is None or strategy.encryption.scheme == "bfv"


def format_choice(choice: PluginChoice) -> str:
    """Format a part with its parameters: `mean(weighted=True)`."""
    parameters = ", ".join(f"{name}={value}" for name, value in sorted(choice.parameters.items()))
    return f"{choice.id}({parameters})" if parameters else choice.id


def strategy_differences(here: Strategy, there: Strategy) -> list[str]:
    """List how a strategy differs from another one: `population is 9 here and 8 there`."""
    ours, others = dict(_values(here)), dict(_values(there))
    return [
        f"{name} is {ours.get(name, 'left out')} here and {others.get(name, 'left out')} there"
        for name in dict.fromkeys((*ours, *others))
        if ours.get(name) != others.get(name)
    ]


def _values(strategy: Strategy) -> Iterator[tuple[str, object]]:
    yield "id", strategy.id
    yield from _choice_values("aggregator", strategy.aggregator)
    yield from _choice_values("server_optimizer", strategy.server_optimizer)
    yield from _choice_values("objective", strategy.objective)
    for number, each in enumerate(strategy.update_transforms):
        yield from _choice_values(f"update_transforms[{number}]", each)
    if strategy.population is not None:
        yield "population", strategy.population
    for name in ("facts", "sections", "state"):
        if values := getattr(strategy, name):
            yield name, ", ".join(values)
    for part in ("privacy", "encryption", "masking", "freezing", "sync"):
        if (terms := getattr(strategy, part)) is not None:
            yield from _term_values(part, terms)
    for part in ("compression", "download"):
        for number, each in enumerate(getattr(strategy, part)):
            yield from _choice_values(f"{part}[{number}]", each)


def _term_values(key: str, terms: "DataclassInstance") -> Iterator[tuple[str, object]]:
    for field in fields(terms):
        value = getattr(terms, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            yield from _term_values(f"{key}.{field.name}", value)
        elif value is not None:
            yield f"{key}.{field.name}", value


def _choice_values(key: str, choice: PluginChoice | None) -> Iterator[tuple[str, object]]:
    if choice is None:
        return
    yield f"{key}.id", choice.id
    for name, value in sorted(choice.parameters.items()):
        written = str(value).lower() if isinstance(value, bool) else value  # as in a job file
        yield f"{key}.parameters.{name}", written
