"""History of a model's versions: how each was made and whether its weights are kept."""

from fedbus.cli.output import display
from fedbus.cli.output.times import format_age, format_time
from fedbus.client.stored_models import kept_line
from fedbus.wire.messages import ModelShown, VersionFacts

DEFAULT_VERSIONS = 20
"""Versions shown without `--limit`."""


def print_history(shown: ModelShown, answers: str) -> None:
    """Print the versions of a model, the newest last, and the facts of the one asked for."""
    ref = shown.version
    facts = {each.version: each for each in shown.history}
    kept = {each.version: each.why for each in shown.kept}
    if shown.history and shown.history[-1].version > 1:
        first, count = shown.history[-1].version, len(shown.history)
        display.show(
            f"{count} of {shown.versions} versions; 1 to {first - 1} are hidden: --limit N shows "
            "N, --all shows all"
        )
    display.print_table(
        ("VERSION", "FROM", "JOB", "ROUND", "AGENTS", "AGE", "WEIGHTS", "METRICS"),
        (_row(each, kept.get(each.version), shown.best) for each in reversed(shown.history)),
        nothing="no history",
    )
    if ref.version < shown.versions:
        display.show(f"versions {ref.version + 1} to {shown.versions} are newer")
    display.show(f"\nmodel    {ref.model}, version {ref.version} of {shown.versions}")
    if ref.version in facts:
        display.show(f"made     {format_time(facts[ref.version].at)}")
    display.show(f"weights  {display.format_size(ref.weights.size)}, blake3 {ref.weights.digest}")
    display.show(f"spec     blake3 {ref.spec.digest}")
    display.show(f"answers  {answers}")
    display.show(f"kept     {kept_line(shown.kept)}")


def _row(facts: VersionFacts, why: str | None, best: int | None) -> tuple[object, ...]:
    kept = "kept" if facts.kept else "deleted"
    reason = "best" if facts.version == best else why if why == "pushed" else ""
    return (
        facts.version,
        facts.parent,
        facts.job or "pushed",
        facts.round if facts.job else "",
        facts.contributors if facts.job else "",
        format_age(facts.at),
        f"{kept}, {reason}" if reason else kept,
        display.format_metrics(facts.metrics),
    )
