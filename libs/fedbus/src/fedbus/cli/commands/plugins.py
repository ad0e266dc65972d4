"""`fedbus plugins`: what is installed, what is wrong with it, and a way to try it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fedbus.cli.output import display
from fedbus.client.failures import Failed
from fedbus.data import npz
from fedbus.errors import FedbusError, PluginError, SettingsError
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.plugins import Plugin
from fedbus.plugins import discovery as finding
from fedbus.plugins.inspection import Finding, inspect_all, inspect_one
from fedbus.simulation.plugin_trial import TrialInputs, try_plugin

app = typer.Typer(help="Plug-ins: what is installed, what is wrong with it; try one.")


@app.callback(invoke_without_command=True)
def plugins(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List installed plug-ins by kind, and say what is wrong with them.

    All are imported. Where FEDBUS_PLUGINS is set, what it does not allow is wrong as well. Exits 1
    if something is wrong.
    """
    if ctx.invoked_subcommand is not None:
        return
    findings = list(inspect_all(_words()))
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
            "no plug-in is installed, not even those of fedbus: install it again",
        )
    wrong = [finding for finding in findings if finding.faults]
    if wrong:
        names = ", ".join(f"{f.plugin.group} {f.plugin.name}" for f in wrong)
        raise Failed(f"something is wrong with {names}")


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="The plug-in's name; trainers:NAME says its kind.")],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="SPEC.json", help="Its architecture and weights, as for `models push`."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="PATH", help="What a loader reads, or rows to train on.")
    ] = None,
    config: Annotated[
        str, typer.Option(metavar="JSON", help="A trainer's architecture, or a model's config.")
    ] = "{}",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Try a plug-in for real, on little data, and say what it did.

    A trainer makes first weights and takes one step, an aggregator gets random blocks, a selector
    agents that do not exist. Exits 1 if it fails. --json prints a list: what each did, and why it
    failed.
    """
    tried: list[dict[str, Any]] = []
    try:
        _try_all(_named(name), model, data, config, tried, say=_quiet if as_json else display.say)
    except FedbusError as error:
        if tried:
            tried[-1]["failed"] = str(error)
        raise
    finally:
        if as_json and tried:
            display.print_json(tried)


def _quiet(_: str) -> None:
    """All is printed at the end."""


def _try_all(
    plugins: list[Plugin],
    model: Path | None,
    data: Path | None,
    config: str,
    tried: list[dict[str, Any]],
    *,
    say: Callable[[str], None],
) -> None:
    for plugin in plugins:
        did: list[str] = []
        tried.append({"kind": plugin.group, "name": plugin.name, "did": did, "failed": None})
        say(f"{plugin.group} {plugin.name} ({plugin.where}, {plugin.package})")
        if faults := inspect_one(plugin).faults:
            raise Failed(f"{plugin.group} {plugin.name}: {'; '.join(faults)}")
        try:
            props = _props(plugin, model, data, config)
            for sentence in try_plugin(plugin.group, plugin.import_object(), props):
                did.append(sentence)
                say(f"  {sentence}")
        except SettingsError:
            raise
        except Exception as error:  # whatever somebody's code may raise
            bare = plugin.group in {"trainers", "runtimes"} and model is None and config == "{}"
            hint = (
                "; perhaps it needs an architecture: --model SPEC.json, or --config" if bare else ""
            )
            raise Failed(
                f"{plugin.group} {plugin.name}: {type(error).__name__}: {error}{hint}"
            ) from error


def _words() -> tuple[str, ...] | None:
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


def _named(name: str) -> list[Plugin]:
    kind, _, bare = name.rpartition(":")
    matching = [
        plugin
        for group in finding.GROUPS
        if kind in {"", group}
        for plugin in finding.find_all(group)
        if plugin.name == bare
    ]
    if not matching:
        there = ", ".join(f"{g}:{n}" for g in finding.GROUPS for n in finding.installed_names(g))
        raise PluginError(f"no plug-in named {name!r}; installed: {there}")
    return matching


def _props(plugin: Plugin, model: Path | None, data: Path | None, config: str) -> TrialInputs:
    from fedbus.client.packing import read_model

    try:
        architecture = json.loads(config)
    except ValueError as error:
        raise SettingsError(f"--config: not JSON: {error}") from error
    if not isinstance(architecture, dict):
        raise SettingsError("--config: a JSON object belongs there")
    loaded = npz(str(data)) if data is not None and plugin.group != "loaders" else None
    path = str(data) if data is not None else None
    if model is None:
        return TrialInputs(architecture, data=loaded, path=path)
    packed = read_model(model)
    for warning in packed.warnings:
        display.warn(warning)
    spec = packed.spec()
    found = spec.architectures.get(plugin.name)
    if found is None:
        raise SettingsError(f"{model}: no architecture for {plugin.name} in it")
    ready = {k: packed.blobs[v["digest"]] if k == "blob" else v for k, v in found.items()}
    weights = decode(packed.blobs[packed.push.weights.digest], Layout.read(spec.layout))
    return TrialInputs(ready, weights, loaded, path)
