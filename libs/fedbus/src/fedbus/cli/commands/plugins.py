"""`fedbus plugins`: list of installed plug-ins, their faults and parameters."""

import os
from dataclasses import asdict
from typing import Annotated, Any

import typer

from fedbus.cli.commands.plugin_check import check
from fedbus.cli.context import AsJson
from fedbus.cli.inputs.plugin_argument import find_plugins
from fedbus.cli.output import display
from fedbus.client.failures import Failed
from fedbus.plugins.discovery import Group
from fedbus.plugins.inspection import Finding, inspect_all
from fedbus.strategies.plugin_description import describe_plugin

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
        (plugin, describe_plugin(plugin))
        for plugin in find_plugins(f"{kind}:{name}" if kind else name)
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


app.command("check")(check)
