"""Changes of tags and aliases, as a table."""

from collections.abc import Mapping, Sequence

from fedbus.cli.output import display
from fedbus.cli.output.times import format_age
from fedbus.wire.messages.model_trail import NameChange


def print_name_changes(changes: Sequence[NameChange]) -> None:
    """Print changes of names, given with the newest first, the newest last."""
    display.print_table(
        ("NAME", "CHANGE", "VERSION", "BEFORE", "AGE", "BY", "NOTE"),
        (
            (
                each.name,
                each.kind,
                each.version,
                each.replaced,
                format_age(each.at),
                each.by,
                each.note,
            )
            for each in reversed(changes)
        ),
        nothing="no tags and no aliases yet; `fedbus models tag` and `promote` make them",
        cut="NOTE",
    )


def format_named(names: Mapping[str, int]) -> str:
    """Format names with what they stand for: `canary 5, production 3`."""
    return ", ".join(f"{name} {version}" for name, version in sorted(names.items()))


def names_by_version(names: Mapping[str, int]) -> dict[int, str]:
    """Return the names of each version in a line."""
    found: dict[int, list[str]] = {}
    for name, version in sorted(names.items()):
        found.setdefault(version, []).append(name)
    return {version: ", ".join(each) for version, each in found.items()}
