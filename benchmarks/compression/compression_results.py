"""The committed results on compression: figures, a table in a page, and a picture."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from benchmarks.compression.measured_chains import PLAIN, SETTINGS

_DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = _DOCS / "compression.md"
FIGURES: Final = _DOCS / "compression-results.json"
PICTURE: Final = _DOCS / "compression-results.svg"
BEGIN: Final = "<!-- Written by `python -m benchmarks.compression --write` from here on. -->\n"
END: Final = "<!-- End of what benchmarks.compression writes. -->\n"

Lines = Sequence[Mapping[str, Any]]


def write_results(lines: Lines) -> None:
    """Write figures, table and picture."""
    rows = ",\n".join(f" {json.dumps(line)}" for line in lines)
    FIGURES.write_text(f"[\n{rows}\n]\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_table(page, table_of(lines)), encoding="utf-8")
    draw(lines, PICTURE)


def with_table(page: str, text: str) -> str:
    """Return a page with the text between the lines BEGIN and END; raise ValueError without."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def table_of(lines: Lines) -> str:
    """Return one row for each chain, in Markdown."""
    names = list(dict.fromkeys(line["chain"] for line in lines))
    data = [name for name in SETTINGS if any(line["data"] == name for line in lines)]
    columns = [
        "chain",
        "bytes up",
        "bytes down",
        *(f"{name}: accuracy (points lost)" for name in data),
    ]
    rows = [columns, ["---"] * len(columns)]
    for name in names:
        found = [_line(lines, each, name) for each in data]
        plain = [_line(lines, each, PLAIN) for each in data]
        share = [
            fmean(one[way] / p[way] for one, p in zip(found, plain, strict=True))
            for way in ("up", "down")
        ]
        accuracies = [
            f"{fmean(one['final']):.3f} ({_lost(one, p)})"
            for one, p in zip(found, plain, strict=True)
        ]
        rows.append([name, *(f"{100 * each:.1f} %" for each in share), *accuracies])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _lost(line: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
    return f"{100 * (fmean(plain['final']) - fmean(line['final'])):+.1f}"


def _line(lines: Lines, data: str, chain: str) -> Mapping[str, Any]:
    return next(line for line in lines if (line["data"], line["chain"]) == (data, chain))


def draw(lines: Lines, path: Path) -> None:
    """Draw the accuracy after each round against the bytes that an agent has sent, as SVG."""
    import matplotlib as mpl  # noqa: PLC0415 - only for the picture
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.hashsalt": "fedbus", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        data = list(dict.fromkeys(line["data"] for line in lines))
        for axes, name in zip(figure.subplots(1, len(data), squeeze=False)[0], data, strict=True):
            for line in lines:
                if line["data"] != name or "down" in line["chain"]:
                    continue
                sent = [line["up"] * number / 1e6 for number in range(1, len(line["curve"]) + 1)]
                axes.plot(sent, line["curve"], label=line["chain"], linewidth=1.2)
            axes.set(
                title=name, xlabel="MB that an agent has sent", ylabel="accuracy", xscale="log"
            )
            axes.legend(fontsize=6)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    text = path.read_text(encoding="utf-8")
    path.write_text("\n".join(map(str.rstrip, text.splitlines())) + "\n", encoding="utf-8")
