"""A job's choice of loader and transforms, within what the data's owner allows.

A job may append transforms to the agent's own pipeline, which no job can remove, and choose another
loader for the same path. It cannot name a path or loader options: only the owner can.
"""

import inspect
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from fedbus import plugins
from fedbus.data.format import Format
from fedbus.datasource.config import DataConfig, loader_for
from fedbus.datasource.pipeline import Pipeline, PipelineStep, make_transform, without_augmentations
from fedbus.errors import PluginError
from fedbus.training.params import DataOverrides, PluginChoice


def _own_loader(own: DataConfig) -> str:
    return own.loader or loader_for(own.path)


def other_loader(own: DataConfig, wanted: DataOverrides) -> bool:
    """Return whether a job chooses another loader than the agent's own."""
    return wanted.loader is not None and wanted.loader != _own_loader(own)


def loaders(own: DataConfig) -> tuple[str, ...]:
    """List the loaders that a job may choose: the agent's own, and those its settings allow."""
    named = (p.name for p in plugins.find_all("loaders") if p.named(own.allowed))
    return tuple(sorted({_own_loader(own), *named}))


def check(own: DataConfig, wanted: DataOverrides) -> None:
    """Raise PluginError for plug-ins that are not installed or not allowed; import none."""
    if wanted.loader is not None and other_loader(own, wanted):
        _check_loader(own, wanted.loader)
    for step in wanted.transforms:
        plugins.find("transforms", step.id, own.allowed)


def _check_loader(own: DataConfig, loader: str) -> None:
    """Reject built-in loaders too: the owner's may hide columns that another one would read."""
    if not plugins.find("loaders", loader).named(own.allowed):
        raise PluginError(
            f"loader {loader!r} is not allowed here, where {_own_loader(own)!r} reads the data "
            f"(FEDBUS_PLUGINS={loader} lets jobs choose it)"
        )


def with_overrides(own: DataConfig, wanted: DataOverrides) -> DataConfig:
    """Return an agent's data configuration with a job's choices, which `check` has accepted.

    Raises:
        PluginError: the import of a transform fails, or it does not take its parameters.
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
    """Keep `batch`, which bounds memory; the other options belong to the own loader."""
    takes = inspect.signature(plugins.load("loaders", loader or "")).parameters
    return {name: own.options[name] for name in ("batch",) if name in takes and name in own.options}


def make_step(where: str, chosen: PluginChoice, allowed: Collection[str] | None) -> PipelineStep:
    """Make a transform that a job chose; `where` is its name in error messages.

    Raises:
        PluginError: it is not installed, not allowed, or does not take its parameters.
    """
    plain = {
        name: list(value) if isinstance(value, tuple) else value  # as in a pipeline file
        for name, value in chosen.parameters.items()
    }
    return PipelineStep(where, make_transform(where, chosen.id, plain, allowed))


def expected_pipeline(own: DataConfig, wanted: DataOverrides, form: Format) -> Pipeline | None:
    """Return the pipeline of a job for data of this format, without importing third-party code.

    Returns:
        None if the job chooses another loader or a third-party transform.

    Raises:
        FedbusError: a step does not take its parameters, or the output of the step before it.
    """
    found = (plugins.find("transforms", step.id, own.allowed) for step in wanted.transforms)
    if other_loader(own, wanted) or not all(
        plugin.package == plugins.BUILTIN_PACKAGE for plugin in found
    ):
        return None
    return Pipeline(with_overrides(own, wanted).steps, form)
