"""`fedbus data split`: deal a data set to agents, as unevenly as a person likes."""

import errno
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedbus.atomic_write import open_atomic
from fedbus.cli.inputs.dataset_option import Loader, Options, Source, read_source
from fedbus.cli.output import display
from fedbus.client.failures import Failed
from fedbus.errors import SettingsError, TrainingError
from fedbus.limits import MAX_COHORT_AGENTS

if TYPE_CHECKING:
    from fedbus.data import Dataset

HELD_OUT = "held_out.npz"
_FEW = 20
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Of the disk: what was asked for was right."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is dealt how, and where to."""

    source: str
    to: Path
    agents: int
    by: str
    seed: int
    least: int
    held_out: float
    options: Mapping[str, Any]
    plot: Path | None


def split(
    source: Source,
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="Where agent.1.npz … and held_out.npz go.")
    ],
    agents: Annotated[int, typer.Option(min=1, max=MAX_COHORT_AGENTS, help="How many there are.")],
    by: Annotated[
        str,
        typer.Option(
            metavar="SAMPLER",
            help="iid, dirichlet, shards, label-quantity, quantity-skew, distribution, mixed, "
            "mixed-label-quantity, orthogonal, sample-quantity or all-inclusive.",
        ),
    ] = "dirichlet",
    seed: Annotated[int, typer.Option(min=0, help="The same seed deals the same rows.")] = 0,
    least: Annotated[
        int, typer.Option("--min-partition-size", min=1, help="Rows that everyone gets.")
    ] = 1,
    partition_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows that everyone gets, no more and no less; for iid, dirichlet, mixed and "
            "orthogonal.",
        ),
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0, max=0.9, help="The share that no agent trains on.")
    ] = 0.2,
    alpha: Annotated[
        float | None, typer.Option(help="Of Dirichlet: the smaller, the more uneven.")
    ] = None,
    size_alpha: Annotated[
        float | None, typer.Option(help="The same of the agents' sizes (distribution).")
    ] = None,
    shards_per_agent: Annotated[int | None, typer.Option(help="For shards; 2.")] = None,
    classes_per_agent: Annotated[
        int | None, typer.Option(help="For label-quantity and mixed-label-quantity; 2.")
    ] = None,
    anchor_classes: Annotated[
        str | None,
        typer.Option(metavar="2,3", help="For mixed-label-quantity: what some agents share."),
    ] = None,
    consistent: Annotated[
        int | None, typer.Option(help="For mixed-label-quantity: how many share them; half.")
    ] = None,
    keep_anchor: Annotated[
        int | None, typer.Option(help="For mixed-label-quantity: how many of them others have; 1.")
    ] = None,
    non_iid: Annotated[
        str | None,
        typer.Option(
            "--non-iid",
            metavar="N|1,3",
            help="For mixed: the first how many are uneven, half of all; or which.",
        ),
    ] = None,
    institutions: Annotated[
        str | None,
        typer.Option(
            metavar="0,1;2,3", help="For orthogonal: whose classes are whose; or how many."
        ),
    ] = None,
    loader: Loader = None,
    loader_options: Options = "{}",
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A picture of it: .png, .svg or .pdf.")
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Remove the shards that are there, once the new ones are written."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Deal a data set to agents, as unevenly as you like.

    Each row goes to one agent (but for all-inclusive), or to the held-out part, which has every
    class in its share; beyond a --partition-size, to nobody. `fedbus up --data DIR` and
    `fedbus simulate --data DIR` take the folder.
    """
    from fedbus.data.partition.plot import check_plot_file

    if plot is not None:
        check_plot_file(plot, to)
    options = _given(
        alpha=alpha,
        size_alpha=size_alpha,
        shards_per_agent=shards_per_agent,
        classes_per_agent=classes_per_agent,
        anchor_classes=_option("anchor_classes", anchor_classes),
        consistent=consistent,
        keep_anchor=keep_anchor,
        non_iid=_option("non_iid", non_iid),
        partition_size=partition_size,
        institutions=_option("institutions", institutions),
    )
    _check_free(to, replace)
    wish = Wish(source, to, agents, by, seed, least, held_out, options, plot)
    said = _split(read_source(source, loader, loader_options), wish)
    if as_json:
        display.print_json(said)
    else:
        _tell(said, wish)


def _split(data: "Dataset", wish: Wish) -> dict[str, Any]:
    import numpy as np

    from fedbus.data.partition import WITHOUT_CLASSES, partition_rows
    from fedbus.data.partition.partition_files import labels_of
    from fedbus.data.partition.plot import count, unevenness
    from fedbus.data.partition.row_assignment import hold_out

    y = labels_of(data)
    classed = y.ndim == 1 and y.dtype.kind in "iu"
    if not classed and wish.by in WITHOUT_CLASSES:
        y = np.zeros(len(y), np.int64)
    rng = np.random.default_rng(wish.seed)
    kept, held = hold_out(y if y.ndim == 1 else np.zeros(len(y)), wish.held_out, rng)
    dealt = partition_rows(wish.by, y[kept], wish.agents, rng, wish.least, wish.options)
    partitions = [kept[partition] for partition in dealt]
    if wish.held_out and not len(held):
        raise TrainingError(f"--held-out {wish.held_out} of {len(y)} rows is not a single one")
    names = [f"agent.{number}" for number in range(1, wish.agents + 1)]
    classes, table = count(y, partitions)
    parts = {f"{name}.npz": partition for name, partition in zip(names, partitions, strict=True)}
    called = [_called(label, data.info.classes) for label in classes]
    _write(data, wish, {**parts, HELD_OUT: held} if len(held) else parts, (names, called, table))
    return {
        "by": wish.by,
        "options": dict(wish.options),
        "seed": wish.seed,
        "rows": len(y),
        "held_out": len(held),
        "left_over": len(kept) - len(np.unique(np.concatenate(partitions))),
        "classes": classes if classed else None,
        "class_names": called if classed and data.info.classes else None,
        "unevenness": unevenness(table) if classed else None,
        "agents": [
            {
                "agent": name,
                "file": str(wish.to / f"{name}.npz"),
                "rows": len(partition),
                "classes": dict(zip(map(str, classes), counts, strict=True)) if classed else None,
            }
            for name, partition, counts in zip(names, partitions, table.tolist(), strict=True)
        ],
    }


def _called(label: int, names: Sequence[str]) -> str:
    return names[label] if 0 <= label < len(names) else str(label)


def _write(data: "Dataset", wish: Wish, parts: Mapping[str, Any], drawn: tuple[Any, ...]) -> None:
    from fedbus.data.partition.partition_files import replace_files, write_partitions
    from fedbus.data.partition.plot import draw

    # A picture that cannot be drawn must not cost the shards that are there.
    made = [one for one in (wish.to, *wish.to.parents) if not one.exists()]
    try:
        with ExitStack() as after, replace_files(wish.to, _there(wish.to)) as staging:
            write_partitions(data, {staging / name: partition for name, partition in parts.items()})
            if wish.plot is not None:
                title = f"{Path(wish.source).name} dealt by {wish.by}, seed {wish.seed}"
                # Renamed after the shards are in their place, and gone if they cannot be.
                picture = after.enter_context(open_atomic(wish.plot))
                picture.write(draw(wish.plot.suffix.lower(), title, *drawn))
    except OSError as error:
        raised = Failed if error.errno in _NO_ROOM else SettingsError
        raise raised(f"{wish.plot}: {error.strerror or error}") from error
    except TrainingError as error:
        if isinstance(cause := error.__cause__, OSError) and cause.errno in _NO_ROOM:
            raise Failed(str(error)) from error
        raise
    finally:
        with suppress(OSError):  # what holds shards stays
            for folder in made:
                folder.rmdir()


def _tell(said: Mapping[str, Any], wish: Wish) -> None:
    classes = said["classes"] or []
    few = classes if len(classes) <= _FEW else []
    few_names = (said["class_names"] or map(str, classes)) if few else ()
    display.print_table(
        ("AGENT", "ROWS", "CLASSES" if classes else "", *few_names),
        [
            (
                agent["agent"],
                agent["rows"],
                sum(1 for rows in agent["classes"].values() if rows) if classes else "",
                *(agent["classes"][str(label)] or "." for label in few),
            )
            for agent in said["agents"]
        ],
        nothing="",
    )
    uneven = "" if said["unevenness"] is None else f", unevenness {said['unevenness']:.2f}"
    dealt, over = said["rows"] - said["left_over"], said["left_over"]
    beyond = f", {over} more are nobody's" if over else ""
    display.say(f"{dealt} rows in {wish.to}, {said['held_out']} of them held out{beyond}{uneven}")
    if wish.plot is not None:
        display.say(f"a picture of it: {wish.plot}")


def _there(folder: Path) -> Sequence[Path]:
    return [*folder.glob("agent.*.npz"), *folder.glob(HELD_OUT)]


def _check_free(folder: Path, replace: bool) -> None:
    if not replace and (there := _there(folder)):
        raise SettingsError(f"{there[0]} is there already; --replace removes what is there")


def _given(**options: Any) -> dict[str, Any]:  # noqa: ANN401 - as the command line has them
    return {name: value for name, value in options.items() if value is not None}


def _option(name: str, text: str | None) -> Any:  # noqa: ANN401 - as its sampler takes it
    from fedbus.data.partition.spec import READERS

    try:
        return None if text is None else READERS[name](text)
    except ValueError as error:
        raise SettingsError(f"--{name.replace('_', '-')}: {error}") from error
