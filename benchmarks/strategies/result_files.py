"""The committed results: figures, tables in a page, and a picture."""

import json
from pathlib import Path
from typing import Any, Final

from benchmarks.strategies.experiments import EXPERIMENTS
from benchmarks.strategies.measured import Measured
from benchmarks.strategies.result_pages import draw, tables, with_tables

_DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = _DOCS / "strategies.md"
FIGURES: Final = _DOCS / "strategy-results.json"
PICTURE: Final = _DOCS / "strategy-results.svg"


def as_json(plain: dict[str, Any]) -> str:
    """Return JSON with a line for each strategy in each setting."""
    experiments = (
        f" {json.dumps(name)}: [\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]"
        for name, rows in plain.items()
    )
    return "{\n" + ",\n".join(experiments) + "\n}\n"


def read_results() -> dict[str, list[Measured]]:
    """Read the committed figures."""
    plain = json.loads(FIGURES.read_text(encoding="utf-8"))
    return {name: [Measured(**row) for row in rows] for name, rows in plain.items()}


def write(plain: dict[str, Any]) -> None:
    """Write figures beside those of other experiments, and tables and picture from all of them."""
    kept = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    merged = {**kept, **plain}
    ordered = {name: merged[name] for name in EXPERIMENTS if name in merged}
    FIGURES.write_text(as_json(ordered), encoding="utf-8")
    results = read_results()
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_tables(page, tables(results)), encoding="utf-8")
    draw(results, PICTURE)
