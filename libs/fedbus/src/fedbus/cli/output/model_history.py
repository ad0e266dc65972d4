"""A model's trail, for people: what of it is shown, which weights are kept and why."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from fedbus.cli.output import display
from fedbus.cli.output.times import age, when
from fedbus.client.address import Where
from fedbus.client.connection import run
from fedbus.client.failures import Refused
from fedbus.client.repository import Question
from fedbus.wire.messages import KeptVersion, ModelShown, ShowModel, VersionFacts

LINES = 20
"""Versions that are shown where nobody says how many."""
ANSWER = 200
"""Versions that the repository tells at once; programs are told these."""


async def fetch_trail(
    here: Where, repository: str, model: str, version: int | None, limit: int | None
) -> ModelShown:
    """Ask for a version and the `limit` versions up to it; None is all, in several answers.

    Raises:
        Refused: there is no such model, or no such version.
        Unreachable: the repository does not answer.
    """
    before = None if version is None else version + 1
    question = ShowModel(model=model, version=version, before=before)
    shown = await run(here, Question(repository, question, ModelShown))
    trail = list(shown.trail)
    while trail and trail[-1].version > 1 and (limit is None or len(trail) < limit):
        question = replace(question, before=trail[-1].version)
        older = (await run(here, Question(repository, question, ModelShown))).trail
        if not older:
            break
        trail += older
    return replace(shown, trail=tuple(trail if limit is None else trail[:limit]))


def print_trail(shown: ModelShown, answers: str) -> None:
    """Print a version and its trail, the newest last, and say what is left off.

    `answers` says what the model answers.
    """
    ref = shown.version
    facts = {each.version: each for each in shown.trail}
    kept = {each.version: each.why for each in shown.kept}
    if shown.trail and shown.trail[-1].version > 1:
        first, count = shown.trail[-1].version, len(shown.trail)
        display.say(
            f"{count} of {shown.versions} versions; 1 to {first - 1} are left off: --limit N shows "
            "N, --all shows all"
        )
    display.print_table(
        ("VERSION", "FROM", "JOB", "ROUND", "AGENTS", "AGE", "WEIGHTS", "METRICS"),
        (_row(each, kept.get(each.version), shown.best) for each in reversed(shown.trail)),
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


def check_kept(shown: ModelShown) -> None:
    """Refuse to fetch a version whose weights are deleted.

    Raises:
        Refused: they are; which versions still have theirs.
    """
    ref = shown.version
    if shown.kept and all(each.version != ref.version for each in shown.kept):
        raise Refused(
            f"the weights of {ref.model} version {ref.version} are deleted: the newest versions "
            "keep theirs, the best one and those that were pushed. Kept: "
            f"{kept_line(shown.kept)}"
        )


def kept_line(kept: Iterable[KeptVersion]) -> str:
    """Write which versions keep their weights and why, neighbours together: `3, 8-12 (newest)`."""
    by_reason: dict[str, list[int]] = {}
    for each in kept:
        by_reason.setdefault(each.why, []).append(each.version)
    parts = [
        f"{', '.join(_spans(sorted(versions)))} ({why})" for why, versions in by_reason.items()
    ]
    return "; ".join(parts) or "none"


def _spans(versions: list[int]) -> Iterator[str]:
    for _, neighbours in groupby(enumerate(versions), key=lambda pair: pair[1] - pair[0]):
        span = [version for _, version in neighbours]
        yield str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}"


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
