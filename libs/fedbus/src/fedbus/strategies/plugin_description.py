"""Descriptions of plug-ins for users: a summary, and each parameter that a user may give."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from fedbus import plugins
from fedbus.plugins import Group, Plugin, Preset
from fedbus.plugins.discovery import Allowed
from fedbus.plugins.inspection import FUNCTIONS
from fedbus.plugins.signature_text import parameter_meanings, summary, type_words
from fedbus.strategies.catalog import parts_of
from fedbus.strategies.factory_parameters import FactoryParameter, parameters_of
from fedbus.strategies.parameter_names import other_names

_CALLED_WITH: Final[Mapping[Group, tuple[str, ...]]] = {
    **FUNCTIONS,
    "trainers": ("architecture",),
    "runtimes": ("architecture",),
}
"""Arguments that fedbus gives by position: no user names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedParameter:
    """A parameter of a plug-in.

    `default` is None if it has none, and `of_training` True if it is by default the job's own.
    `part` names the part of a strategy that takes it, as `aggregators krum`; a parameter of several
    parts is listed with the first one.
    """

    name: str
    value: str
    default: Any
    required: bool
    of_training: bool
    meaning: str
    also: tuple[str, ...] = ()
    part: str = ""

    @property
    def default_text(self) -> str:
        """The default as JSON, or why there is none."""
        if self.of_training:
            return "the training's"
        if self.required:
            return "required"
        return "" if self.default is None else json.dumps(self.default, ensure_ascii=False)

    @property
    def meaning_text(self) -> str:
        """The meaning, with the other names by which a job may give it."""
        also = f"(also {', '.join(self.also)})" if self.also else ""
        return f"{self.meaning} {also}".strip()


@dataclass(frozen=True, slots=True)
class PluginDescription:
    """What a plug-in is, and the parameters that it takes."""

    summary: str
    parameters: tuple[DescribedParameter, ...]
    any_name: bool = False
    """Whether it also takes parameters that its signature does not name."""


def describe_plugin(plugin: Plugin, allowed: Allowed = None) -> PluginDescription:
    """Import a plug-in, and the parts of a strategy, and describe it; none is called.

    Raises:
        PluginError: It does not load, or a part of it is not installed or allowed.
    """
    made = plugin.import_object()
    if isinstance(made, Preset):
        return _of_preset(made, allowed)
    if not callable(made):
        return PluginDescription(summary(made), ())
    takes = parameters_of(made)
    given = len(_CALLED_WITH.get(plugin.group, ()))
    named = dict(list(takes.named.items())[given:])
    return PluginDescription(summary(made), tuple(_described(made, named)), takes.any_name)


def _described(
    factory: Callable[..., object], named: Mapping[str, FactoryParameter]
) -> Iterator[DescribedParameter]:
    meanings = parameter_meanings(factory)
    of_training = getattr(factory, "of_training", ())
    for name, each in named.items():
        yield DescribedParameter(
            name=name,
            value=type_words(each.hint).replace("`", "") or "any value",
            default=_plain(each.default),
            required=each.required,
            of_training=name in of_training,
            meaning=meanings.get(name, ""),
        )


def _plain(default: object) -> object:
    """Return a default, as text if JSON has no such value."""
    try:
        json.dumps(default, allow_nan=False)
    except (TypeError, ValueError):
        return repr(default)
    return default


def _of_preset(preset: Preset, allowed: Allowed) -> PluginDescription:
    found: dict[str, DescribedParameter] = {}
    any_name, ids = False, []
    for group, choice in parts_of(preset):
        factory = cast("Callable[..., object]", plugins.load(group, choice.id, allowed))
        takes = parameters_of(factory)
        any_name |= takes.any_name
        ids.append(f"{group} {choice.id}")
        for each in _described(factory, takes.named):
            chosen = choice.parameters.get(each.name)
            here = replace(each, part=ids[-1])
            if chosen is not None:
                here = replace(here, default=chosen, required=False, of_training=False)
            found.setdefault(each.name, here)
    others = other_names(preset, found)
    described = tuple(replace(each, also=others.get(name, ())) for name, each in found.items())
    source = f" ({preset.source})" if preset.source else ""
    return PluginDescription(f"{', '.join(ids)}{source}", described, any_name)
