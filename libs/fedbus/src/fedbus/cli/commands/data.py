"""`fedbus data`: partition a data set among agents, or describe one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fedbus.cli.commands.data_split import split
from fedbus.cli.context import AsJson
from fedbus.cli.inputs.dataset_option import Loader, Options, Source, read_source
from fedbus.cli.output import display
from fedbus.text import counted

if TYPE_CHECKING:
    from fedbus.data.format import Field
    from fedbus.datasource.summary import Summary

_FEW = 20

app = typer.Typer(no_args_is_help=True, help="Partition a data set among agents, or describe one.")
app.command()(split)


@app.command()
def describe(
    source: Source,
    loader: Loader = None,
    loader_options: Options = "{}",
    pipeline: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Transforms, as for an agent; or a JSON file of them."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a whole data set as an agent does, and print its content.

    Every number is read; an invalid one is reported with its file, row and column. Exits 2 if
    there is one.
    """
    from fedbus.datasource.pipeline import read_pipeline
    from fedbus.datasource.summary import summary_of

    data = read_source(source, loader, loader_options)
    steps = read_pipeline(pipeline) if pipeline is not None else []
    found = summary_of(data, steps)
    warning = _negative_class_warning(found.classes or {})
    if as_json:
        display.print_json({**found.plain(), "warnings": [warning] if warning else []})
        return
    display.show(f"{source}: {found.rows} rows")
    _show_summary(found)
    if warning:
        display.show(f"   {warning}")


def _negative_class_warning(classes: Mapping[str, int]) -> str:
    below = [label for label in classes if label.startswith("-")]
    if not below:
        return ""
    return (
        f"{below[0]} is not a class, which is 0 or more; it may be a target value, for a loss like "
        "mse"
    )


def _show_summary(found: "Summary") -> None:
    first, *made = found.formats
    display.show(f"x  {first.x}{_range(first.x, found.x_loaded)}{_columns(found.columns)}")
    for name, form in zip(found.steps, made, strict=True):
        span = found.x_output if form is made[-1] else None
        display.show(f"   {name} makes {form.x}{_range(form.x, span)}")
    display.show(f"y  {found.formats[-1].y}{_classes(found)}")
    for column, count in found.missing.items():
        display.show(f"   {counted(count, 'missing value')} in {column!r}")
    for note in found.notes:
        display.show(f"   {note}")


def _range(field: "Field", span: tuple[float, float] | None) -> str:
    text = "" if span is None else f", {span[0]:g} to {span[1]:g}"
    return text + (", normalized" if field.normalized else "")


def _columns(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return f": {', '.join(names[:_FEW])}{more}" if names else ""


def _classes(found: "Summary") -> str:
    if found.classes is None:
        return f", {found.y[0]:g} to {found.y[1]:g}"
    if len(found.classes) > _FEW:
        return f", {len(found.classes)} classes"
    names = dict(enumerate(found.class_names))
    text = []
    for label, rows in found.classes.items():
        name = names.get(int(label))
        text.append(f"{rows} of class {label}" + (f" ({name})" if name is not None else ""))
    return ", " + ", ".join(text)
