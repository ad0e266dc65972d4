"""`fedbus data`: deal a data set to agents, and say what one holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fedbus.cli import show
from fedbus.cli.source import Loader, Options, Source, read_source
from fedbus.cli.split import split

_FEW = 20

app = typer.Typer(no_args_is_help=True, help="Data: deal a data set to agents, describe one.")
app.command()(split)


@app.command()
def describe(
    source: Source,
    loader: Loader = None,
    loader_options: Options = "{}",
    pipeline: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Transforms, as for an agent.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Read all of a data set as an agent would, and say what is in it.

    Every number is read: a fault is named by its file, row and column. Exits 2 if there is one.
    """
    from fedbus.data.format import format_of
    from fedbus.data.pipeline import Pipeline, read_pipeline
    from fedbus.data.split.parts import labels_of

    data = read_source(source, loader, loader_options)
    steps = Pipeline(read_pipeline(pipeline) if pipeline is not None else [], format_of(data))
    changed = data.changed(steps.change)
    rows = sum(len(x) for x, _ in changed.peek())
    y = labels_of(data)
    classes = _counts(y) if y.ndim == 1 and y.dtype.kind in "iu" else None
    warning = _negative(classes or {})
    if as_json:
        plain = {"examples": rows, "format": steps.output.plain(), "classes": classes}
        plain["warnings"] = [warning] if warning else []
        show.print_json(plain)
        return
    show.say(f"{source}: {rows} rows")
    show.say(f"x  {steps.forms[0].x}{_range(steps.forms[0].x.normalized)}")
    for step, form in zip(steps.steps, steps.forms[1:], strict=True):
        show.say(f"   {step.name} makes {form.x}{_range(form.x.normalized)}")
    show.say(f"y  {steps.output.y}{_classes_said(classes)}")
    if warning:
        show.say(f"   {warning}")


def _counts(y: Any) -> dict[str, int]:  # noqa: ANN401 - an array
    import numpy as np

    labels, counts = np.unique(y, return_counts=True)
    return {str(label): int(rows) for label, rows in zip(labels, counts, strict=True)}


def _negative(classes: Mapping[str, int]) -> str:
    below = [label for label in classes if label.startswith("-")]
    if not below:
        return ""
    return (
        f"{below[0]} is no class that a trainer of fedbus takes: it is 0 or more; a quantity it "
        "may be, for a loss like mse"
    )


def _range(normalized: bool) -> str:
    return ", normalized" if normalized else ""


def _classes_said(classes: Mapping[str, int] | None) -> str:
    if classes is None:
        return ""
    if len(classes) > _FEW:
        return f", {len(classes)} classes"
    return ", " + ", ".join(f"{rows} of class {label}" for label, rows in classes.items())
