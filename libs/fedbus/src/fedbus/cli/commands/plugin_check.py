"""`fedbus plugins check`: a trial of a plug-in on a little data."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fedbus.cli.context import AsJson
from fedbus.cli.inputs.model_options import read_config
from fedbus.cli.inputs.plugin_argument import find_plugins
from fedbus.cli.output import display
from fedbus.client.failures import Failed
from fedbus.data import npz
from fedbus.errors import FedbusError, SettingsError
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.plugins import Plugin
from fedbus.plugins.inspection import inspect_one
from fedbus.simulation.plugin_trial import TrialInputs, try_plugin


def check(
    name: Annotated[str, typer.Argument(help="The plug-in's name, or KIND:NAME.")],
    model: Annotated[
        Path | None,
        typer.Option(metavar="SPEC.json", help="Architecture and weights, as for `models push`."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="PATH", help="File for a loader, or rows to train on.")
    ] = None,
    config: Annotated[
        str,
        typer.Option(
            metavar="JSON",
            help="A trainer's architecture, a model's config, or the parameters of a transform, a "
            "strategy or a part of one.",
        ),
    ] = "{}",
    as_json: AsJson = False,
) -> None:
    """Run a plug-in on a little data, and report what it did.

    A trainer makes initial weights and trains one step, an aggregator combines generated updates, a
    server optimizer applies three rounds, a selector gets generated agents. Exits 1 if it fails.
    --json prints a list of what each plug-in did and why it failed.
    """
    tried: list[dict[str, Any]] = []
    try:
        _try_all(
            find_plugins(name),
            model,
            data,
            config,
            tried,
            report=(lambda _: None) if as_json else display.show,
        )
    except FedbusError as error:
        if tried:
            tried[-1]["failed"] = str(error)
        raise
    finally:
        if as_json and tried:
            display.print_json(tried)


def _try_all(
    plugins: list[Plugin],
    model: Path | None,
    data: Path | None,
    config: str,
    tried: list[dict[str, Any]],
    report: Callable[[str], None],
) -> None:
    for plugin in plugins:
        did: list[str] = []
        tried.append({"kind": plugin.group, "name": plugin.name, "did": did, "failed": None})
        report(f"{plugin.group} {plugin.name} ({plugin.where}, {plugin.package})")
        if faults := inspect_one(plugin).faults:
            raise Failed(f"{plugin.group} {plugin.name}: {'; '.join(faults)}")
        try:
            inputs = _inputs(plugin, model, data, config)
            for sentence in try_plugin(plugin.group, plugin.import_object(), inputs):
                did.append(sentence)
                report(f"  {sentence}")
        except SettingsError:
            raise
        except Exception as error:  # user code may raise any
            bare = plugin.group in {"trainers", "runtimes"} and model is None and config == "{}"
            hint = (
                "; if it needs an architecture, add --model SPEC.json or --config" if bare else ""
            )
            raise Failed(
                f"{plugin.group} {plugin.name}: {_sentence(plugin, error)}{hint}"
            ) from error


def _sentence(plugin: Plugin, error: Exception) -> str:
    """Format an error, without the plug-in's kind and name if it begins with them."""
    if not isinstance(error, FedbusError):
        return f"{type(error).__name__}: {error}"
    kind = plugin.group.removesuffix("s").replace("_", " ")
    return str(error).removeprefix(f"{kind} {plugin.name!r}: ")


def _inputs(plugin: Plugin, model: Path | None, data: Path | None, config: str) -> TrialInputs:
    from fedbus.client.packing import read_model

    architecture = read_config(config) or {}
    loaded = npz(str(data)) if data is not None and plugin.group != "loaders" else None
    path = str(data) if data is not None else None
    if model is None:
        return TrialInputs(architecture, plugin.name, data=loaded, path=path)
    packed = read_model(model)
    for warning in packed.warnings:
        display.warn(warning)
    spec = packed.spec()
    found = spec.architectures.get(plugin.name)
    if found is None:
        raise SettingsError(f"{model}: has no architecture for {plugin.name}")
    ready = {k: packed.blobs[v["digest"]] if k == "blob" else v for k, v in found.items()}
    weights = decode(packed.blobs[packed.push.weights.digest], Layout.read(spec.layout))
    return TrialInputs(ready, plugin.name, weights, loaded, path)
