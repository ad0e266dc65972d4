"""The committed results on privacy: figures, tables in a page, and a picture."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

from benchmarks.privacy.cost_of_privacy import DP_SGD, EPSILONS, MECHANISMS, NO_PRIVACY
from benchmarks.privacy.hidden_updates import PLAIN

_DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = _DOCS / "privacy-results.md"
FIGURES: Final = _DOCS / "privacy-results.json"
PICTURE: Final = _DOCS / "privacy-results.svg"
BEGIN: Final = "<!-- Written by `python -m benchmarks.privacy --write` from here on. -->\n"
END: Final = "<!-- End of what benchmarks.privacy writes. -->\n"

Row = Mapping[str, Any]
Parts = Mapping[str, Sequence[Row]]


def read_parts() -> Parts:
    """Read the committed figures."""
    found: Parts = json.loads(FIGURES.read_text(encoding="utf-8"))
    return found


def write_part(name: str, rows: Sequence[Row]) -> None:
    """Write a part's figures beside those of others; tables and picture from all of them."""
    kept = read_parts() if FIGURES.exists() else {}
    merged = {**kept, name: rows}
    ordered = {part: merged[part] for part in _TABLES if part in merged}
    lines = (
        f" {json.dumps(part)}: [\n" + ",\n".join(f"  {json.dumps(row)}" for row in each) + "\n ]"
        for part, each in ordered.items()
    )
    FIGURES.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_parts(page, tables(ordered)), encoding="utf-8")
    if "cost" in ordered:
        draw_costs(ordered["cost"], PICTURE)


def with_parts(page: str, text: str) -> str:
    """Return a page with the text between the lines BEGIN and END.

    Raises:
        ValueError: The page lacks one of the lines.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def tables(parts: Parts) -> str:
    """Return the tables of all parts, in Markdown."""
    return "\n".join("\n".join([*_TABLES[name](rows), ""]) for name, rows in parts.items())


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"**{title}**"
    yield ""
    for cells in (columns, ["---"] * len(columns), *rows):
        yield f"| {' | '.join(cells)} |"


def _cost_tables(rows: Sequence[Row]) -> Iterator[str]:
    columns = ["mechanism", *(f"ε {epsilon:g}" for epsilon in EPSILONS), NO_PRIVACY]
    for data in dict.fromkeys(row["data"] for row in rows):
        found = {(row["mechanism"], row["epsilon"]): row for row in rows if row["data"] == data}
        lines = []
        for mechanism in (*MECHANISMS, DP_SGD):
            plain = (DP_SGD if mechanism == DP_SGD else NO_PRIVACY, None)
            if (mechanism, EPSILONS[0]) in found and plain in found:
                cells = [found.get((mechanism, epsilon)) for epsilon in EPSILONS]
                lines.append([mechanism, *map(_accuracy, cells), _accuracy(found[plain])])
        yield from _table(f"Accuracy on {data}", columns, lines)
        yield ""
    yield from _table(
        "Chosen noise multiplier, learning rate and clipping norm",
        ["data", "mechanism", *columns[1:-1]],
        [
            [data, mechanism, *(_chosen(rows, data, mechanism, each) for each in EPSILONS)]
            for data, mechanism in dict.fromkeys((row["data"], row["mechanism"]) for row in rows)
            if mechanism != NO_PRIVACY
        ],
    )


def _accuracy(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{fmean(row['final']):.3f} ± {stdev(row['final']):.3f}"


def _chosen(rows: Sequence[Row], data: str, mechanism: str, epsilon: float) -> str:
    key = (data, mechanism, epsilon)
    row = next((e for e in rows if (e["data"], e["mechanism"], e["epsilon"]) == key), None)
    if row is None:
        return ""
    return f"{row['noise_multiplier']:.3g}, {row['learning_rate']:g}, {row['clipping_norm']:g}"


def _membership_table(rows: Sequence[Row]) -> Iterator[str]:
    yield from _table(
        "Was this row in the training data? Likelihood ratio attack and loss attack",
        ["model", "ε", "accuracy on own rows", "on others", "AUC", "95 %", "found at 1 %", "loss"],
        [
            [
                *(row["name"], _epsilon(row), f"{row['trained']:.2f}", f"{row['held_out']:.2f}"),
                *(*_attack(row["likelihood"]), f"{row['loss']['auc']:.3f}"),
            ]
            for row in rows
        ],
    )


def _participation_table(rows: Sequence[Row]) -> Iterator[str]:
    yield from _table(
        "Did this agent take part? Attack on the last version",
        ["ε", "accuracy of the model", "AUC", "95 %", "found at 1 %"],
        [[_epsilon(row), f"{row['accuracy']:.2f}", *_attack(row)] for row in rows],
    )


def _release_table(rows: Sequence[Row]) -> Iterator[str]:
    yield from _table(
        "The best attack on all versions, other agents known; ε 2",
        ["mechanism", "AUC", "95 %", "found at 1 %", "exact AUC", "any attack", "measured ε"],
        [
            [
                *(row["name"], *_attack(row)),
                "" if row["exact"] is None else f"{row['exact']:.3f}",
                *(f"{row['bound']:.3f}", f"{row['measured_epsilon']:.2f}"),
            ]
            for row in rows
        ],
    )


def _services_table(rows: Sequence[Row]) -> Iterator[str]:
    yield from _table(
        "The same job over all services and in memory",
        ["mechanism", "accuracy, services", "in memory", "ε, services", "in memory"],
        [
            [
                *(row["mechanism"], f"{row['services']:.3f}", f"{row['in_memory']:.3f}"),
                *(f"{row['services_epsilon']:.4f}", f"{row['in_memory_epsilon']:.4f}"),
            ]
            for row in rows
        ],
    )


def _hidden_table(rows: Sequence[Row]) -> Iterator[str]:
    plain = {row["noise"]: fmean(row["final"]) for row in rows if row["hiding"] == PLAIN}
    lines = []
    for row in rows:
        lost = 100 * (plain[row["noise"]] - fmean(row["final"]))
        epsilon = f"{row['epsilon']:.2f}" if row["noise"] else "none"
        lines.append([row["hiding"], epsilon, _accuracy(row), f"{lost:+.1f}"])
    yield from _table(
        "Jobs over all services whose updates are encrypted or masked",
        ["updates", "ε", "accuracy", "points lost"],
        lines,
    )


_TABLES: Final = {
    "cost": _cost_tables,
    "membership": _membership_table,
    "participation": _participation_table,
    "release": _release_table,
    "services": _services_table,
    "hidden": _hidden_table,
}


def _epsilon(row: Row) -> str:
    without = row["epsilon"] is None or row.get("noise_multiplier") == 0
    return "none" if without else f"{row['epsilon']:g}"


def _attack(row: Row) -> tuple[str, str, str]:
    low, high = row["auc_interval"]
    return f"{row['auc']:.3f}", f"{low:.3f} to {high:.3f}", f"{row['true_positives']:.3f}"


def draw_costs(rows: Sequence[Row], path: Path) -> None:
    """Draw the accuracy by ε, and the line without privacy, as SVG."""
    import matplotlib as mpl  # noqa: PLC0415 - only for the picture
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.hashsalt": "fedbus", "svg.fonttype": "none", "font.size": 8}):
        names = list(dict.fromkeys(row["data"] for row in rows))
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        for axes, data in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            for mechanism in (*MECHANISMS, DP_SGD):
                own = [e for e in rows if (e["data"], e["mechanism"]) == (data, mechanism)]
                own = [row for row in own if row["epsilon"] is not None]
                if own:
                    heights = [fmean(row["final"]) for row in own]
                    errors = [stdev(row["final"]) for row in own]
                    places = [row["epsilon"] for row in own]
                    axes.errorbar(places, heights, errors, label=mechanism, marker="o", capsize=2)
            plain = next(e for e in rows if (e["data"], e["mechanism"]) == (data, NO_PRIVACY))
            axes.axhline(fmean(plain["final"]), label=NO_PRIVACY, color="black", linestyle="--")
            axes.set_xscale("log", base=2)
            axes.set_xticks(EPSILONS, [f"{epsilon:g}" for epsilon in EPSILONS])
            axes.set(title=data, xlabel="ε of the whole job", ylabel="accuracy", ylim=(0, 1))
            axes.legend(fontsize=7, loc="lower right")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    text = path.read_text(encoding="utf-8")
    path.write_text("\n".join(map(str.rstrip, text.splitlines())) + "\n", encoding="utf-8")
