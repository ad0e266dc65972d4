"""How a job wants an agent's data read, and what of it their owner allows.

A job may have its transforms follow those of the agent's own pipeline, which no job can undo, and
choose another loader for the same path. It brings no path and no options for a loader: whatever is
read, its owner named.
"""

from collections.abc import Collection
from dataclasses import replace

from fedbus import plugins
from fedbus.data.format import Format
from fedbus.data.pipeline import Pipeline, Step, make_transform, without_augmentations
from fedbus.data.recipe import Recipe, loader_for
from fedbus.errors import PluginError
from fedbus.wire.values import Reading, TransformParams


def other_loader(own: Recipe, wanted: Reading) -> bool:
    """Tell whether a job wants another loader than the agent's own."""
    return wanted.loader is not None and wanted.loader != (own.loader or loader_for(own.path))


def loaders(own: Recipe) -> tuple[str, ...]:
    """Name those that a job may choose; a file's own kind needs no other word."""
    here = plugins.found("loaders")
    if own.loader is None:
        return tuple(sorted({plugin.name for plugin in here if plugin.allowed(own.allowed)}))
    return tuple(sorted({own.loader, *(p.name for p in here if p.named(own.allowed))}))


def check(own: Recipe, wanted: Reading) -> None:
    """Refuse what is not here or not allowed; nothing of others is imported for that.

    Raises:
        PluginError: with what there is, and the setting that would allow it.
    """
    if wanted.loader is not None and other_loader(own, wanted):
        _check_loader(own, wanted.loader)
    for step in wanted.transforms:
        plugins.find("transforms", step.id, own.allowed)


def _check_loader(own: Recipe, loader: str) -> None:
    """An owner who named a loader may have meant that no row gets past it."""
    plugin = plugins.find("loaders", loader, own.allowed)
    if own.loader is not None and not plugin.named(own.allowed):
        raise PluginError(
            f"loader {loader!r} is not allowed here: the owner of these data named "
            f"{own.loader!r} (FEDBUS_PLUGINS={loader} lets jobs choose it as well)"
        )


def adapted(own: Recipe, wanted: Reading) -> Recipe:
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
        return replace(changed, loader=wanted.loader, options={})
    return changed


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


def expected(own: Recipe, wanted: Reading, form: Format) -> Format | None:
    """Say what a trainer will be given of data of a format, as far as it is known by now.

    None: another loader reads them, or a transform of others would have to be imported first.

    Raises:
        FedbusError: a step does not take its parameters, or what the one before it makes.
    """
    found = (plugins.find("transforms", step.id, own.allowed) for step in wanted.transforms)
    if other_loader(own, wanted) or not all(plugin.package == plugins.OURS for plugin in found):
        return None
    return Pipeline(adapted(own, wanted).steps, form).output
