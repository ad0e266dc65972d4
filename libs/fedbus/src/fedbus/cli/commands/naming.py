"""`fedbus models tag`, `untag`, `promote`, `rollback`, `remove-alias`, `names`."""

from typing import Annotated

import typer

from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.inputs.version_argument import ModelName, ModelVersion
from fedbus.cli.output import display
from fedbus.cli.output.name_history import print_name_changes
from fedbus.client.model_names import PAGE_VERSIONS
from fedbus.client.names import version_name
from fedbus.text import in_given_order
from fedbus.wire import codec
from fedbus.wire.messages import AliasMoved, VersionTagged

Tag = Annotated[
    str,
    typer.Argument(metavar="TAG", help="A name of the version.", callback=version_name),
]
Note = Annotated[
    str, typer.Option("--note", metavar="TEXT", help="Why, for the history of the name.")
]
Condition = Annotated[
    int | None,
    typer.Option(
        "--if",
        metavar="VERSION",
        min=0,
        help="Only if the alias names this version now; 0 is none.",
    ),
]


def tag(
    ctx: typer.Context, model: ModelVersion, tag: Tag, note: Note = "", as_json: AsJson = False
) -> None:
    """Add a tag to a version, or move it there; its weights are kept until it is untagged.

    `fedbus models tag digits@3 paper`, and then `fedbus models pull digits@paper`. Without a
    version the latest gets it. A version may have many tags; a tag is of one version of a model.
    """
    _show_tags(call(broker_of(ctx), lambda fed: fed.tag(model, tag, note=note)), as_json=as_json)


def untag(
    ctx: typer.Context, model: ModelName, tag: Tag, note: Note = "", as_json: AsJson = False
) -> None:
    """Remove a tag from the version that has it; its weights may then be deleted again."""
    _show_tags(call(broker_of(ctx), lambda fed: fed.untag(model, tag, note=note)), as_json=as_json)


def promote(
    ctx: typer.Context,
    model: ModelVersion,
    alias: Annotated[
        str,
        typer.Option("--to", metavar="ALIAS", help="Such as production.", callback=version_name),
    ],
    expected: Condition = None,
    note: Note = "",
    as_json: AsJson = False,
) -> None:
    """Make an alias name a version: `fedbus models promote digits@5 --to production`.

    Inference services that serve the alias change to it. The weights of the version are kept, and
    those of the last three that a rollback returns to. A version is refused if its weights are
    deleted, damaged or encrypted.
    """
    moved = call(
        broker_of(ctx), lambda fed: fed.promote(model, alias, expected=expected, note=note)
    )
    _show_alias(moved, as_json=as_json)


def rollback(
    ctx: typer.Context,
    model: ModelName,
    alias: Annotated[
        str, typer.Option("--alias", metavar="ALIAS", help="Which one.", callback=version_name)
    ],
    expected: Condition = None,
    note: Note = "",
    as_json: AsJson = False,
) -> None:
    """Make an alias name the version again that it named before its last promotion.

    Repeated, it goes further back; a promotion after that starts from there.
    """
    moved = call(
        broker_of(ctx), lambda fed: fed.roll_back(model, alias, expected=expected, note=note)
    )
    _show_alias(moved, as_json=as_json)


def remove_alias(
    ctx: typer.Context,
    model: ModelName,
    alias: Annotated[
        str, typer.Argument(metavar="ALIAS", help="Which one.", callback=version_name)
    ],
    note: Note = "",
    as_json: AsJson = False,
) -> None:
    """Remove an alias; its history stays, and its versions are kept no longer for its sake."""
    moved = call(broker_of(ctx), lambda fed: fed.remove_alias(model, alias, note=note))
    _show_alias(moved, as_json=as_json)


def names(
    ctx: typer.Context,
    model: ModelName,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One alias or tag; all by default.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many changes.")
    ] = PAGE_VERSIONS,
    as_json: AsJson = False,
) -> None:
    """Show who changed the tags and aliases of a model, when, and why; the newest last.

    `fedbus models show` has what they name now. --json prints the newest first.
    """
    changes = call(broker_of(ctx), lambda fed: fed.name_changes(model, name, limit=limit))
    if as_json:
        display.print_json([codec.to_plain(each) for each in changes])
    else:
        print_name_changes(changes)


def _show_tags(made: VersionTagged, *, as_json: bool) -> None:
    if as_json:
        display.print_json(codec.to_plain(made))
        return
    if made.version is None:
        display.show(f"{made.model} has no tag {made.tag} any more")
        return
    tags = in_given_order(name for name, version in made.tags.items() if version == made.version)
    display.show(f"{made.model} version {made.version} has the tags: {tags}")


def _show_alias(moved: AliasMoved, *, as_json: bool) -> None:
    if as_json:
        display.print_json(codec.to_plain(moved))
        return
    if moved.version is None:
        display.show(f"{moved.model} has no alias {moved.alias} any more")
        return
    before = f"; a rollback returns to version {moved.before}" if moved.before else ""
    display.show(f"{moved.alias} of {moved.model} names version {moved.version.version}{before}")
