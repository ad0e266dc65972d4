"""How a job wants an agent's data read, and what of it their owner allows.

A job may have its transforms follow those of the agent's own pipeline, which no job can undo, and
choose another loader for the same path. It brings no path and no options for a loader: whatever is
read, its owner named.
"""

import inspect
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from fedbus import plugins
from fedbus.data.format import Format
from fedbus.datasource.config import DataConfig, loader_for
from fedbus.datasource.pipeline import Pipeline, Step, make_transform, without_augmentations
from fedbus.errors import PluginError
from fedbus.training.params import DataOverrides, TransformParams


def _own_loader(own: DataConfig) -> str:
    return own.loader or loader_for(own.path)


def other_loader(own: DataConfig, wanted: DataOverrides) -> bool:
    """Tell whether a job wants another loader than the agent's own."""
    return wanted.loader is not None and wanted.loader != _own_loader(own)


def loaders(own: DataConfig) -> tuple[str, ...]:
    """Name those that a job may choose: the agent's own, and what its settings name."""
    named = (p.name for p in plugins.find_all("loaders") if p.named(own.allowed))
    return tuple(sorted({_own_loader(own), *named}))


def check(own: DataConfig, wanted: DataOverrides) -> None:
    """Refuse what is not here or not allowed; nothing of others is imported for that.

    Raises:
        PluginError: with what there is, and the setting that would allow it.
    """
    if wanted.loader is not None and other_loader(own, wanted):
        _check_loader(own, wanted.loader)
    for step in wanted.transforms:
        plugins.find("transforms", step.id, own.allowed)


def _check_loader(own: DataConfig, loader: str) -> None:
    """Refuse one of ours as well: the owner's may leave out what another would show."""
    if not plugins.find("loaders", loader).named(own.allowed):
        raise PluginError(
            f"loader {loader!r} is not allowed here, where {_own_loader(own)!r} reads the data "
            f"(FEDBUS_PLUGINS={loader} lets jobs choose it)"
        )


def adapted(own: DataConfig, wanted: DataOverrides) -> DataConfig:
    """Make of an agent's own recipe what a job wants; `check` has nothing against it.

    Raises:
        PluginError: a transform does not load, or does not take its parameters; says which.
    """
    steps = [
        make_step(f"plugins.transforms[{place}] ({step.id})", step, own.allowed)
        for place, step in enumerate(wanted.transforms)
    ]
    changed = replace(
        own,
        steps=(*own.steps, *steps),
        test_steps=(*own.testing, *without_augmentations(steps)),
    )
    if other_loader(own, wanted):
        return replace(changed, loader=wanted.loader, options=_kept_options(own, wanted.loader))
    return changed


def _kept_options(own: DataConfig, loader: str | None) -> dict[str, Any]:
    """Keep what bounds memory: how many rows are read at once; all else is for another loader."""
    takes = inspect.signature(plugins.load("loaders", loader or "")).parameters
    return {name: own.options[name] for name in ("batch",) if name in takes and name in own.options}


def make_step(where: str, chosen: TransformParams, allowed: Collection[str] | None) -> Step:
    """Make a transform that a job chose; `where` is what errors call it.

    Raises:
        PluginError: it is not installed, not allowed, or does not take its parameters.
    """
    plain = {
        name: list(value) if isinstance(value, tuple) else value  # as a pipeline's file has them
        for name, value in chosen.parameters.items()
    }
    return Step(where, make_transform(where, chosen.id, plain, allowed))


def expected(own: DataConfig, wanted: DataOverrides, form: Format) -> Pipeline | None:
    """Say what data of a format will go through on their way to a trainer, as far as it is known.

    None: another loader reads them, or a transform of others would have to be imported first.

    Raises:
        FedbusError: a step does not take its parameters, or what the one before it makes.
    """
    found = (plugins.find("transforms", step.id, own.allowed) for step in wanted.transforms)
    if other_loader(own, wanted) or not all(
        plugin.package == plugins.BUILTIN_PACKAGE for plugin in found
    ):
        return None
    return Pipeline(adapted(own, wanted).steps, form)
