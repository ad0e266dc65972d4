"""`fedbus plugins`: list of installed plug-ins, their faults, parameters, and a trial of one."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from fedbus.cli.context import AsJson
from fedbus.cli.inputs.model_options import read_config
from fedbus.cli.output import display
from fedbus.client.failures import Failed
from fedbus.data import npz
from fedbus.errors import FedbusError, PluginError, SettingsError
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.plugins import Plugin
from fedbus.plugins.discovery import GROUPS, Group, find_all, installed_names
from fedbus.plugins.inspection import Finding, inspect_all, inspect_one
from fedbus.simulation.plugin_trial import TrialInputs, try_plugin
from fedbus.strategies.plugin_description import describe_plugin
from fedbus.text import nearest

app = typer.Typer(help="List installed plug-ins and their faults; show or try one.")


@app.callback(invoke_without_command=True)
def plugins(
    ctx: typer.Context,
    as_json: AsJson = False,
) -> None:
    """List installed plug-ins by kind, with their faults.

    All are imported. If FEDBUS_PLUGINS is set, a plug-in that it does not allow has a fault. Exits
    1 if there is a fault.
    """
    if ctx.invoked_subcommand is not None:
        return
    findings = list(inspect_all(_allowed_names()))
    if as_json:
        display.print_json([_plain(finding) for finding in findings])
    else:
        display.print_table(
            ("KIND", "NAME", "PACKAGE", "WHERE", "STATE"),
            [
                (
                    finding.plugin.group,
                    finding.plugin.name,
                    f"{finding.plugin.package} {finding.plugin.version}",
                    finding.plugin.where,
                    _status(finding),
                )
                for finding in findings
            ],
            "no plug-in is installed, not even those of fedbus: reinstall fedbus",
        )
    wrong = [finding for finding in findings if finding.faults]
    if wrong:
        names = ", ".join(f"{f.plugin.group} {f.plugin.name}" for f in wrong)
        raise Failed(f"faulty plug-ins: {names}; the column STATE has the reasons")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The plug-in's name, or KIND:NAME.")],
    kind: Annotated[
        Group | None, typer.Option(help="Only this kind; by default all of the name.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a plug-in is, and the parameters that it takes.

    A job gives those of a strategy, aggregator, server optimizer or objective in
    strategy.parameters; those of a transform stand beside its id, and those of a loader in
    FEDBUS_LOADER_OPTIONS. Each is shown with its values, default and meaning, as its signature and
    docstring say: fedbus plugins show krum. The plug-in is imported, not called.
    """
    described = [
        (plugin, describe_plugin(plugin)) for plugin in _find(f"{kind}:{name}" if kind else name)
    ]
    if as_json:
        display.print_json(
            [
                {"kind": plugin.group, "name": plugin.name, "package": plugin.package}
                | {"version": plugin.version, "where": plugin.where, **asdict(found)}
                for plugin, found in described
            ]
        )
        return
    for plugin, found in described:
        package = f"{plugin.package} {plugin.version}".strip()
        display.show(f"{plugin.group} {plugin.name} ({plugin.where}, {package})")
        if found.summary:
            display.show(f"  {found.summary}")
        if found.parameters or not found.any_name:
            display.print_table(
                ("PARAMETER", "VALUE", "DEFAULT", "MEANING"),
                [
                    (each.name, each.value, each.default_text, each.meaning_text)
                    for each in found.parameters
                ],
                "  no parameters",
            )
        if found.any_name:
            display.show("  parameters of any other name, too")


@app.command()
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
            _find(name),
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


def _allowed_names() -> tuple[str, ...] | None:
    given = os.environ.get("FEDBUS_PLUGINS")
    return None if given is None else tuple(word.strip() for word in given.split(","))


def _plain(finding: Finding) -> dict[str, Any]:
    plugin = finding.plugin
    return {
        "kind": plugin.group,
        "name": plugin.name,
        "package": plugin.package,
        "version": plugin.version,
        "where": plugin.where,
        "needs_permission": not plugin.allowed(()),
        "missing": finding.missing,
        "faults": list(finding.faults),
    }


def _status(finding: Finding) -> str:
    if finding.faults:
        return "; ".join(finding.faults)
    if finding.missing:
        return f"not usable here: {finding.missing}"
    return "ok" if finding.plugin.allowed(()) else "ok where FEDBUS_PLUGINS allows it"


def _find(name: str) -> list[Plugin]:
    kind, _, bare = name.rpartition(":")
    matching = [
        plugin
        for group in GROUPS
        if kind in {"", group}
        for plugin in find_all(group)
        if plugin.name == bare
    ]
    if not matching:
        there = ", ".join(f"{g}:{n}" for g in GROUPS for n in installed_names(g))
        near = nearest(bare, [n for g in GROUPS if kind in {"", g} for n in installed_names(g)])
        meant = f"did you mean {near!r}? " if near else ""
        raise PluginError(f"no plug-in named {name!r}; {meant}installed: {there}")
    return matching


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
