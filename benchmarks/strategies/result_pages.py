"""Tables and the picture of the results of the experiments."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from benchmarks.strategies.experiments import ATTACKS, EXPERIMENTS, GRIDS
from benchmarks.strategies.measured import Measured

Results = Mapping[str, Sequence[Measured]]

BEGIN: Final = "<!-- Written by `python -m benchmarks.strategies --write` from here on. -->\n"
END: Final = "<!-- End of what benchmarks.strategies writes. -->\n"
_LINES = ("fedavg", "scaffold", "fedprox", "feddyn", "fedavgm", "fedadam")
_LABEL = ("fedavg", "fedprox", "fednova", "scaffold")


def with_tables(page: str, text: str) -> str:
    """Return a page with the text between the lines BEGIN and END.

    Raises:
        ValueError: The page lacks one of the lines.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def tables(results: Results) -> str:
    """Return a table for each experiment, in Markdown."""
    return "\n".join(
        "\n".join([f"**{EXPERIMENTS[name].title}**", "", *_table(name, rows), ""])
        for name, rows in results.items()
    )


def _table(name: str, rows: Sequence[Measured]) -> Iterator[str]:
    experiment = EXPERIMENTS[name]
    headings = list(experiment.settings)
    columns = ["strategy"]
    for heading in headings:
        if heading in experiment.target:
            columns.append(f"{heading}: rounds to {experiment.target[heading]}")
        columns.append(heading)
        if experiment.tuned_as is None and heading not in experiment.rates:
            columns.append("parameters")
    yield _row(columns)
    yield _row(["---"] * len(columns))
    for strategy in experiment.strategies:
        cells = [f"`{strategy}`"]
        for heading in headings:
            found = next(e for e in rows if (e.setting, e.strategy) == (heading, strategy))
            if found.rounds_to_target:
                cells.append(_rounds(found.rounds_to_target))
            cells.append(f"{found.mean:.3f} ± {found.spread:.3f}")
            if experiment.tuned_as is None and heading not in experiment.rates:
                cells.append(_parameters(found))
        yield _row(cells)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rounds(reached: Sequence[int | None]) -> str:
    known = [each for each in reached if each is not None]
    if len(known) == len(reached):
        return f"{fmean(known):.1f}"
    return f"{len(known)} of {len(reached)} seeds" if known else "not reached"


def _parameters(found: Measured) -> str:
    own = [f"{name} {found.parameters[name]}" for name in GRIDS.get(found.strategy, ())]
    return ", ".join([f"rate {found.learning_rate}", *own])


def draw(results: Results, path: Path) -> None:
    """Draw accuracies by round, and under attack, as SVG."""
    import matplotlib as mpl  # noqa: PLC0415 - only for the picture
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.hashsalt": "fedbus", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(9, 6), layout="constrained")
        (first, second), (third, fourth) = figure.subplots(2, 2)
        for axes, name, data, title, strategies in (
            (first, "heterogeneous", "mnist1d", "Dirichlet 0.5", _LINES),
            (second, "one label", "digits", "one label an agent", _LABEL),
            (third, "one label, momentum", "digits", "one label, momentum 0.9", _LABEL),
        ):
            if name in results:
                _curves(axes, results[name], data, f"{data}, {title}", strategies)
        if "attacks, digits, IID" in results:
            _bars(fourth, results["attacks, digits, IID"])
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    text = path.read_text(encoding="utf-8")
    path.write_text("\n".join(map(str.rstrip, text.splitlines())) + "\n", encoding="utf-8")


def _curves(
    axes: Any,  # noqa: ANN401 - matplotlib has no types
    rows: Sequence[Measured],
    heading: str,
    title: str,
    strategies: Sequence[str],
) -> None:
    for strategy in strategies:
        found = next(e for e in rows if (e.setting, e.strategy) == (heading, strategy))
        axes.plot(range(1, len(found.curve) + 1), found.curve, label=strategy, linewidth=1.2)
    axes.set(title=title, xlabel="round", ylabel="accuracy")
    axes.legend(fontsize=7)


def _bars(axes: Any, rows: Sequence[Measured]) -> None:  # noqa: ANN401 - matplotlib has no types
    strategies = list(dict.fromkeys(each.strategy for each in rows))
    width = 0.8 / len(ATTACKS)
    for number, attack in enumerate(ATTACKS):
        heights = [e.mean for e in rows if e.setting == attack]
        places = [at + number * width for at in range(len(strategies))]
        axes.bar(places, heights, width, label=attack)
    axes.set_xticks([at + 1.5 * width for at in range(len(strategies))], strategies, rotation=30)
    axes.set(title="digits, IID, 4 of 20 agents malicious", ylabel="accuracy")
    axes.legend(fontsize=7, loc="lower right")
