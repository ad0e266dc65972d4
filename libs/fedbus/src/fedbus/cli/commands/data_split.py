"""`fedbus data split`: partition a data set among agents."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fedbus.cli.context import AsJson
from fedbus.cli.inputs.dataset_option import Loader, Options, Source, read_source
from fedbus.cli.output import display
from fedbus.cli.partitioned_files import SplitOptions, check_free, write_split
from fedbus.errors import SettingsError
from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.text import listed

_FEW = 20


def split(
    source: Source,
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="Folder for agent.1.npz … and held_out.npz.")
    ],
    agents: Annotated[int, typer.Option(min=1, max=MAX_COHORT_AGENTS, help="Number of agents.")],
    by: Annotated[
        str,
        typer.Option(
            metavar="SAMPLER",
            help="iid, dirichlet, shards, label-quantity, quantity-skew, distribution, mixed, "
            "mixed-label-quantity, orthogonal, sample-quantity or all-inclusive.",
        ),
    ] = "dirichlet",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same partition.")] = 0,
    least: Annotated[
        int, typer.Option("--min-partition-size", min=1, help="Least number of rows of each agent.")
    ] = 1,
    partition_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Exact number of rows of each agent; for iid, dirichlet, mixed and orthogonal.",
        ),
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0, max=0.9, help="Fraction of rows that no agent trains on.")
    ] = 0.2,
    alpha: Annotated[
        float | None, typer.Option(help="Dirichlet concentration: the smaller, the more uneven.")
    ] = None,
    size_alpha: Annotated[
        float | None, typer.Option(help="Concentration of the agents' sizes, for distribution.")
    ] = None,
    shards_per_agent: Annotated[int | None, typer.Option(help="For shards; 2 by default.")] = None,
    classes_per_agent: Annotated[
        int | None, typer.Option(help="For label-quantity and mixed-label-quantity; 2 by default.")
    ] = None,
    anchor_classes: Annotated[
        str | None,
        typer.Option(
            metavar="2,3", help="Classes that some agents share, for mixed-label-quantity."
        ),
    ] = None,
    consistent: Annotated[
        int | None,
        typer.Option(help="For mixed-label-quantity: number of these agents; half."),
    ] = None,
    keep_anchor: Annotated[
        int | None,
        typer.Option(help="For mixed-label-quantity: shared classes of the others; 1."),
    ] = None,
    non_iid: Annotated[
        str | None,
        typer.Option(
            "--non-iid",
            metavar="N|1,3",
            help="For mixed: number of uneven agents, by default half; or their indices.",
        ),
    ] = None,
    institutions: Annotated[
        str | None,
        typer.Option(
            metavar="0,1;2,3",
            help="For orthogonal: classes of each institution, or their number.",
        ),
    ] = None,
    loader: Loader = None,
    loader_options: Options = "{}",
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Plot of the partition: .png, .svg or .pdf.")
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Remove existing partitions, once the new ones are written."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Partition a data set among agents, evenly or unevenly.

    Each row is assigned to one agent (with all-inclusive: to several), or to the held-out part,
    which has the same class fractions; rows beyond --partition-size are not used. Pass the folder
    to `fedbus up --data DIR` or `fedbus simulate --data DIR`.
    """
    from fedbus.data.partition import options_of
    from fedbus.data.partition.plot import check_plot_file

    if plot is not None:
        check_plot_file(plot, to)
    options = _options(
        alpha=alpha,
        size_alpha=size_alpha,
        shards_per_agent=shards_per_agent,
        classes_per_agent=classes_per_agent,
        anchor_classes=anchor_classes,
        consistent=consistent,
        keep_anchor=keep_anchor,
        non_iid=non_iid,
        partition_size=partition_size,
        institutions=institutions,
    )
    known = options_of(by)
    if unknown := options.keys() - set(known):
        raise SettingsError(f"{by} takes no {_flags(unknown)}; its options: {_flags(known)}")
    check_free(to, replace)
    chosen = SplitOptions(source, to, agents, by, seed, least, held_out, options, plot)
    summary = write_split(read_source(source, loader, loader_options), chosen)
    if as_json:
        display.print_json(summary)
    else:
        _show_partition(summary, chosen)


def _flags(names: Iterable[str]) -> str:
    return listed(f"--{name.replace('_', '-')}" for name in names) or "none"


def _show_partition(summary: Mapping[str, Any], chosen: SplitOptions) -> None:
    classes = summary["classes"] or []
    few = classes if len(classes) <= _FEW else []
    few_names = (summary["class_names"] or map(str, classes)) if few else ()
    display.print_table(
        ("AGENT", "ROWS", "CLASSES" if classes else "", *few_names),
        [
            (
                agent["agent"],
                agent["rows"],
                sum(1 for rows in agent["classes"].values() if rows) if classes else "",
                *(agent["classes"][str(label)] or "." for label in few),
            )
            for agent in summary["agents"]
        ],
        nothing="",
    )
    uneven = "" if summary["unevenness"] is None else f", unevenness {summary['unevenness']:.2f}"
    assigned, left = summary["rows"] - summary["left_over"], summary["left_over"]
    unused = f", {left} more are not used" if left else ""
    display.show(
        f"{assigned} rows in {chosen.to}, {summary['held_out']} of them held out{unused}{uneven}"
    )
    if chosen.plot is not None:
        display.show(f"plot: {chosen.plot}")


def _options(**given: Any) -> dict[str, Any]:  # noqa: ANN401 - as the command line has them
    from fedbus.data.partition.spec import READERS

    found = {name: value for name, value in given.items() if value is not None}
    for name, value in found.items():
        try:
            found[name] = READERS[name](value) if isinstance(value, str) else value
        except ValueError as error:
            raise SettingsError(f"--{name.replace('_', '-')}: {error}") from error
    return found
