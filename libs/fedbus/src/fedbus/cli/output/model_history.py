"""A model's trail, for people: what of it is shown, which weights are kept and why."""

from fedbus.cli.output import display
from fedbus.cli.output.times import age, when
from fedbus.client.stored_models import kept_line
from fedbus.wire.messages import ModelShown, VersionFacts

LINES = 20
"""Versions that are shown where nobody says how many."""


def print_trail(shown: ModelShown, answers: str) -> None:
    """Print a version and its trail, the newest last, and say what is left off.

    `answers` says what the model answers.
    """
    ref = shown.version
    facts = {each.version: each for each in shown.history}
    kept = {each.version: each.why for each in shown.kept}
    if shown.history and shown.history[-1].version > 1:
        first, count = shown.history[-1].version, len(shown.history)
        display.say(
            f"{count} of {shown.versions} versions; 1 to {first - 1} are left off: --limit N shows "
            "N, --all shows all"
        )
    display.print_table(
        ("VERSION", "FROM", "JOB", "ROUND", "AGENTS", "AGE", "WEIGHTS", "METRICS"),
        (_row(each, kept.get(each.version), shown.best) for each in reversed(shown.history)),
        nothing="no trail",
    )
    if ref.version < shown.versions:
        display.say(f"versions {ref.version + 1} to {shown.versions} are newer")
    display.say(f"\nmodel    {ref.model}, version {ref.version} of {shown.versions}")
    if ref.version in facts:
        display.say(f"made     {when(facts[ref.version].at)}")
    display.say(f"weights  {display.size(ref.weights.size)}, blake3 {ref.weights.digest}")
    display.say(f"spec     blake3 {ref.spec.digest}")
    display.say(f"answers  {answers}")
    display.say(f"kept     {kept_line(shown.kept)}")


def _row(facts: VersionFacts, why: str | None, best: int | None) -> tuple[object, ...]:
    kept = "kept" if facts.kept else "deleted"
    reason = "best" if facts.version == best else why if why == "pushed" else ""
    return (
        facts.version,
        facts.parent,
        facts.job or "pushed",
        facts.round if facts.job else "",
        facts.contributors if facts.job else "",
        age(facts.at),
        f"{kept}, {reason}" if reason else kept,
        display.metrics(facts.metrics),
    )
