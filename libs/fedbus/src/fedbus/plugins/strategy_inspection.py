"""Inspection of a strategy's parts: methods and attributes, of a class or of an object. Pure."""

import inspect
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import GetSetDescriptorType, MemberDescriptorType, NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from fedbus.errors import PluginError
from fedbus.plugins.agent_part_checks import is_part_name
from fedbus.plugins.call_signatures import Arguments, call_text, method_misfit
from fedbus.plugins.discovery import Group, error_message
from fedbus.plugins.strategy_protocols import Preset
from fedbus.text import in_given_order
from fedbus.training.params import PluginChoice
from fedbus.wire.strategies import MAX_SECTIONS, FactName

METHODS: Final[Mapping[Group, Mapping[str, Arguments]]] = {
    "aggregators": {
        "weight": ("facts",),
        "weigh": ("facts", "gram"),
        "combine": ("blocks", "weights"),
    },
    "server_optimizers": {"apply": ("base", "combined", "state")},
    "objectives": {"terms": ("start",), "after": ("start", "update", "steps")},
    "update_transforms": {
        "transform_update": ("update", "rng"),
        "transform_combined": ("combined",),
        "protect": ("update", "training"),
        "add_noise": ("combined", "noise"),
    },
}
"""Methods of each part; an objective needs `terms` only, the others at least one of theirs.

`protect` and `add_noise` are those of a privacy mechanism.
"""
OPTIONAL_METHODS: Final[Mapping[Group, Mapping[str, Arguments]]] = {
    "aggregators": {"refuses": ("facts",)},
    "server_optimizers": {"next_numbers": ("numbers", "facts")},
    "objectives": {},
    "update_transforms": {
        "next_numbers": ("numbers", "facts"),
        "public_bound": ("numbers",),
        "refuses_update": ("facts", "numbers"),
        "next_private_numbers": ("numbers", "facts", "noise"),
    },
}
"""Methods that a part may have beside those."""
ATTRIBUTES: Final[Mapping[Group, tuple[str, ...]]] = {
    "aggregators": ("facts", "gram", "least_updates", "needs_sgd", "weighs_equally"),
    "server_optimizers": ("state", "sections", "needs_population"),
    "objectives": ("facts", "server_state", "sections", "needs_plain_sgd"),
    "update_transforms": (
        *("facts", "needs_norm", "needs_combined_norm", "needs_distance", "collector_draws_noise"),
    ),
}
FACTS: Final = get_args(FactName)
FOLD: Final = (
    "fold(total, block, weight) is not called: write weight(self, facts) for a weighted mean, "
    "whose sum the collector computes, or combine(self, blocks, weights) for another rule"
)
_COMPUTED: Final = (property, cached_property, MemberDescriptorType, GetSetDescriptorType)
_MISSING: Final = object()
_NUMBERS: Final = (int, float)


def entry_faults(group: Group, made: object) -> Iterator[str]:
    """Yield faults of what an entry point names: a class, or a function that makes an object."""
    if not callable(made):
        yield (
            f"expected a class, or a function of the job's parameters, got a {type(made).__name__}"
        )
        return
    if isinstance(made, type):
        yield from part_faults(group, made)
    yield from _parameter_faults(group, made)


def part_faults(group: Group, part: object) -> Iterator[str]:
    """Yield methods and attributes that are missing or wrong.

    Of a class, attributes that are computed for each object are not seen.
    """
    methods = METHODS[group]
    found = [name for name in methods if callable(getattr(part, name, None))]
    needed = ["terms"] if group == "objectives" else [*methods]
    if not set(found) & set(needed):
        wanted = " or ".join(call_text(name, methods[name]) for name in needed)
        old = f"; {FOLD}" if group == "aggregators" and hasattr(part, "fold") else ""
        yield f"no method {wanted}{old}"
    for name in found:
        yield from method_misfit(part, name, methods[name])
    for name, arguments in OPTIONAL_METHODS[group].items():
        if hasattr(part, name):
            yield from method_misfit(part, name, arguments)
    if group == "aggregators" and "weight" in found and len(found) > 1:
        yield f"{' and '.join(found)} in one class: of these, weight must stand alone; remove one"
    for name in ATTRIBUTES[group]:
        yield from _attribute_faults(name, part)


def read_attributes(group: Group, part: object) -> dict[str, Any]:
    """Return the optional attributes that a part has, each read once.

    `after` and `transform_combined` are whether it has these methods.

    A property of a third-party part may do anything: call this as the part itself is called.

    Raises:
        PluginError: One cannot be read or is not what is expected; the message begins with its
            name.
    """
    found: dict[str, Any] = {}
    for name in ATTRIBUTES[group]:
        try:
            value = getattr(part, name, None)
            expected = None if value is None else _expected(name, value)
            shown = "" if expected is None else _shown(value)
        except (Exception, SystemExit) as error:
            raise PluginError(f"{name}: it cannot be read: {error_message(error)}") from error
        if expected is not None:
            raise PluginError(f"{name}: expected {expected}, got {shown}")
        if value is not None:
            found[name] = tuple(value) if _is_list(value) else value
    if group == "objectives":
        found["after"] = callable(getattr(part, "after", None))
    if group == "update_transforms":
        found["transform_combined"] = callable(getattr(part, "transform_combined", None))
    return found


def preset_faults(made: object) -> Iterator[str]:
    """Yield what is wrong with the fields of a strategy's preset."""
    if not isinstance(made, Preset):
        what = "function or class" if callable(made) else type(made).__name__
        yield (
            f"expected a Preset, got a {what}; the entry point names the object that Preset(...) "
            "returned, and parts have groups of their own, such as fedbus.aggregators"
        )
        return
    for name in ("aggregator", "server_optimizer", "objective"):
        choice = getattr(made, name)
        if not isinstance(choice, PluginChoice) and (choice is not None or name == "aggregator"):
            example = choice if isinstance(choice, str) else "name"
            yield (
                f"{name}: expected a PluginChoice, got a {type(choice).__name__}; write "
                f"PluginChoice(id={example!r})"
            )
    renamed = made.renamed
    if not isinstance(renamed, Mapping) or not all(
        isinstance(word, str) for pair in renamed.items() for word in pair
    ):
        yield "renamed: expected names of parameters by other names"


def _attribute_faults(name: str, part: object) -> Iterator[str]:
    value = inspect.getattr_static(part, name, _MISSING)
    if isinstance(value, _COMPUTED):
        if isinstance(part, type):
            return
        value = getattr(part, name)
    if value is _MISSING or (expected := _expected(name, value)) is None:
        return
    yield f"{name}: expected {expected}, got {_shown(value)}"


def _shown(value: object) -> str:
    return f"a {type(value).__name__}" if callable(value) else repr(value)[:80]


def _expected(name: str, value: Any) -> str | None:  # noqa: ANN401 - anything a plug-in has
    """Return what an attribute should be; None if it is that."""
    match name:
        case "facts":
            fits = _is_list(value) and all(fact in FACTS for fact in value)
            return None if fits else f"a tuple of names out of {in_given_order(FACTS)}"
        case "gram":
            fits = isinstance(value, str) and value in {"model", "tensors"}
            return None if fits else "'model' or 'tensors'"
        case "least_updates":
            fits = type(value) is int and value > 0
            return None if fits else "a whole number of at least 1"
        case "state" | "sections" | "server_state":
            fits = (
                _is_list(value)
                and all(map(is_part_name, value))
                and len(set(value)) == len(value) <= MAX_SECTIONS
            )
            return None if fits else f"a tuple of at most {MAX_SECTIONS} different names"
        case _:
            return None if isinstance(value, bool) else "True or False"


def _is_list(value: object) -> bool:
    return isinstance(value, tuple | list)


def _parameter_faults(group: Group, made: Any) -> Iterator[str]:  # noqa: ANN401 - a plug-in
    """Yield faults of parameters: a job gives each by its name, as JSON."""
    try:
        parameters = inspect.signature(made).parameters.values()
    except (TypeError, ValueError):
        return  # written in C, without a signature
    required = [
        each
        for each in parameters
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    hints = _hints(made)
    foreign = [each.name for each in required if not _can_be_given(hints.get(each.name, Any))]
    names = tuple(each.name.lstrip("_") for each in required)
    direct = [method for method, arguments in METHODS[group].items() if names == arguments]
    if not isinstance(made, type) and (direct or foreign):
        method = direct[0] if direct else next(iter(METHODS[group]))
        call = call_text(method, ("self", *METHODS[group][method]))
        yield (
            f"it takes ({', '.join(names)}) and is called with the parameters of a job: write a "
            f"class with the method {call}, whose __init__ has the parameters, if any"
        )
    elif foreign:
        yield f"a job can give only numbers, texts, true and false: not {in_given_order(foreign)}"
    for each in parameters:
        kind = hints.get(each.name)
        if each not in required and (get_origin(kind) or kind) in (dict, Mapping):
            yield f"{each.name}: no job can give a dict; take numbers, texts or flags by name"
    if unnamed := [each.name for each in required if each.kind is each.POSITIONAL_ONLY]:
        yield f"a job gives parameters by name: remove the / after {unnamed[-1]}"


def _hints(made: Any) -> Mapping[str, Any]:  # noqa: ANN401 - a plug-in
    try:
        return get_type_hints(
            inspect.getattr_static(made, "__init__") if isinstance(made, type) else made
        )
    except Exception:  # noqa: BLE001 - an annotation may be any expression
        return {}


def _can_be_given(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    """Return whether a JSON value of a job can have an annotated type."""
    if kind is Any or kind in (bool, str, *_NUMBERS, NoneType):
        return True
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return any(map(_can_be_given, get_args(kind)))
    if origin is Literal:
        return True
    if origin is list or (isinstance(origin, type) and issubclass(tuple, origin)):
        return all(each in (*_NUMBERS, Ellipsis) for each in get_args(kind))
    return False
