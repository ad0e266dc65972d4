"""Meaning and names of a pushed model's outputs, by the caller, its spec, or the model itself."""

from dataclasses import dataclass
from typing import Any

from fedbus.frameworks.exported import OutputFacts
from fedbus.frameworks.outputs import MEANINGS, check_answers, check_classes
from fedbus.wire.documents import ModelSpec

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """What the caller states about a model's outputs.

    Attributes:
        answers: What the outputs mean, one of `fedbus.frameworks.outputs.ANSWERS`.
        classes: Names of the outputs, in their order.
    """

    answers: str | None = None
    classes: tuple[str, ...] = ()


NO_OUTPUT_OPTIONS = OutputOptions()


def row_of(stated: object) -> tuple[int, ...] | None:
    """Return the shape of a row by a spec's `input`; None where the spec has none."""
    match stated:
        case {"shape": list(size)} | {"data_types": {"image": {"size": list(size)}}}:
            pass
        case {"data_types": {"numerical": {"size": list(size)}}}:
            pass
        case {"data_types": {"categorical": {"size": list(size)}}}:
            pass
        case _:
            return None
    return tuple(size) if all(type(n) is int and n > 0 for n in size) else None


def complete_spec(spec: dict[str, Any], seen: OutputFacts, said: OutputOptions) -> None:
    """Write `answers` and `classes` into a spec.

    What the caller states goes before the spec, and the spec before what the model itself shows.
    `answers` of an architecture counts as the spec's.

    Raises:
        SettingsError: they do not fit the model's outputs.
    """
    of_architectures = [
        architecture.pop("answers")
        for architecture in spec["architectures"].values()
        if "answers" in architecture
    ]
    if said.answers is not None:
        spec["answers"] = check_answers(said.answers, seen.output)
    elif spec.get("answers") is None:
        spec["answers"] = of_architectures[0] if of_architectures else seen.answers
    if said.classes:
        spec["classes"] = list(said.classes)
    if classes := spec.get("classes"):
        check_classes(spec["answers"], list(map(str, classes)), seen.output)


def same_outputs(spec: ModelSpec, before: ModelSpec) -> bool:
    """Return whether the class names of an earlier version fit this one."""
    return (spec.answers, spec.layout) == (before.answers, before.layout)


def class_names(spec: ModelSpec) -> str:
    """Format the names of a model's classes, the first ten of them."""
    more = len(spec.classes) - _SHOWN
    return ", ".join(spec.classes[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def describe_outputs(spec: ModelSpec, *, derived: bool = False) -> str:
    """Format what a model's outputs mean: `classes: cat, dog`."""
    said: str = spec.answers or "numbers whose meaning is not known"
    if spec.classes:
        said = f"{said}: {class_names(spec)}"
    if derived:
        meaning = spec.answers and f" ({MEANINGS[spec.answers]}; --answers says otherwise)"
        said += meaning or "; pass --answers"
    return said
