"""History of a model's versions: how each was made and whether its weights are kept."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Final

from fedbus.cli.output import display
from fedbus.cli.output.encryption_text import format_derivation, format_encryption
from fedbus.cli.output.epsilon_text import format_epsilon, format_model_epsilon
from fedbus.cli.output.name_history import format_named, names_by_version
from fedbus.cli.output.spec_text import spec_lines
from fedbus.cli.output.times import format_age, format_time
from fedbus.client.kept_versions import kept_line, spans
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import KeptVersion, ModelShown, VersionFacts
from fedbus.wire.round_records import RoundRecord
from fedbus.wire.strategies import TrainingFacts
from fedbus.wire.strategy_text import format_strategy

DEFAULT_VERSIONS = 20
"""Versions shown without `--limit`."""
TRAINING_FACTS: Final = tuple(field.name for field in fields(TrainingFacts))


def print_history(shown: ModelShown, spec: ModelSpec, *, contributors: bool = False) -> None:
    """Print the versions of a model, the newest last, and the facts of the one asked for.

    Its `contributors` are the agents whose updates its round combined, with their coefficients.
    """
    ref = shown.version
    facts = {each.version: each for each in shown.history}
    if shown.history and shown.history[-1].version > 1:
        first, count = shown.history[-1].version, len(shown.history)
        display.show(
            f"{count} of {shown.versions} versions; 1 to {first - 1} are hidden: --limit N shows "
            "N, --all shows all"
        )
    print_versions(
        tuple(reversed(shown.history)), shown.kept, shown.best, {**shown.aliases, **shown.tags}
    )
    if ref.version < shown.versions:
        display.show(f"versions {ref.version + 1} to {shown.versions} are newer")
    display.show(f"\nmodel    {ref.model}, version {ref.version} of {shown.versions}")
    if ref.version in facts:
        display.show(f"made     {format_time(facts[ref.version].at)}")
        if (derived := facts[ref.version].derived) is not None:
            display.show(f"derived  {format_derivation(derived)} by {derived.by}")
    display.show(f"weights  {display.format_size(ref.weights.size)}, blake3 {ref.weights.digest}")
    if ref.encryption is not None:
        display.show(f"         encrypted with {format_encryption(ref.encryption)}")
    display.show(f"spec     blake3 {ref.spec.digest}")
    for line in spec_lines(spec):
        display.show(line)
    display.show(f"kept     {kept_line(shown.kept)}")
    if shown.aliases:
        display.show(f"aliases  {format_named(shown.aliases)}")
    if shown.tags:
        display.show(f"tags     {format_named(shown.tags)}")
    spent = facts[ref.version].privacy if ref.version in facts else None
    if spent is not None:
        display.show(
            f"privacy  ε {format_epsilon(spent.model_epsilon)}, δ {spent.model_delta:.3g} with all "
            f"jobs before; `fedbus privacy show {ref.model}` explains it"
        )
    for line in _strategy_lines(shown.history):
        display.show(line)
    state = shown.record.state if shown.record is not None else None
    if state is not None and state.numbers:
        numbers = ", ".join(f"{name} {value:.6g}" for name, value in state.numbers.items())
        display.show(f"state    {numbers}")
    if contributors and shown.record is not None:
        _print_contributors(shown.record)


def print_versions(
    versions: Sequence[VersionFacts],
    kept: Iterable[KeptVersion] = (),
    best: int | None = None,
    names: Mapping[str, int] = MappingProxyType({}),
    nothing: str = "no history",
) -> None:
    """Print a table of versions in the order given.

    Args:
        versions: What the repository says of each.
        kept: Why versions of the model keep their weights.
        best: The version with the best metric.
        names: The version that each alias and tag of the model names.
        nothing: What is printed if there are no versions.
    """
    why = {each.version: each.why for each in kept}
    private = any(each.privacy is not None for each in versions)
    encrypted = any(each.encryption is not None for each in versions)
    named = names_by_version(names)
    display.print_table(
        (
            *("VERSION", "FROM", "JOB", "ROUND", "AGENTS", "AGE", "WEIGHTS", "METRICS"),
            *(("NAMES",) * bool(named)),
            *(("EPSILON",) * private),
            *(("ENCRYPTED",) * encrypted),
        ),
        (
            (
                *_row(each, why.get(each.version), best),
                *((named.get(each.version, ""),) * bool(named)),
                *((format_model_epsilon(each.privacy),) * private),
                *((format_encryption(each.encryption),) * encrypted),
            )
            for each in versions
        ),
        nothing=nothing,
    )


def _strategy_lines(history: Iterable[VersionFacts]) -> Iterator[str]:
    """Format each strategy once, with its versions: `strategy fedavg: mean; versions 2-8`."""
    versions: dict[str, list[int]] = {}
    for each in history:
        if each.strategy is not None:
            versions.setdefault(format_strategy(each.strategy), []).append(each.version)
    for strategy, made in versions.items():
        yield f"strategy {strategy}; {'versions' if len(made) > 1 else 'version'} {spans(made)}"


def _print_contributors(record: RoundRecord) -> None:
    if record.privacy is not None:
        display.show(
            f"\nround {record.round} of job {record.job}: its agents are not shown, since the job "
            "has a privacy mechanism"
        )
        return
    display.show(f"\nround {record.round} of job {record.job}:")
    facts = [name for name in TRAINING_FACTS if name in record.strategy.facts]
    display.print_table(
        ("AGENT", "EXAMPLES", "COEFFICIENT", *(name.upper() for name in facts)),
        (
            (
                each.agent,
                each.examples,
                "" if each.coefficient is None else f"{each.coefficient:.6g}",
                *(getattr(each.facts, name) for name in facts),
            )
            for each in record.contributors
        ),
        nothing="no contributors",
    )
    if record.base_coefficient != 1:
        display.show(f"the base has the coefficient {record.base_coefficient:.6g}")
    if all(each.coefficient is None for each in record.contributors):
        display.show("the aggregator combines updates number by number, without coefficients")
    for refusal in record.refusals:
        display.show(f"not in it: {refusal.agent}: {refusal.reason}")


def _row(facts: VersionFacts, why: str | None, best: int | None) -> tuple[object, ...]:
    kept = "kept" if facts.kept else "deleted"
    reason = "best" if facts.version == best else "" if why in {None, "best", "newest"} else why
    pushed = "pushed" if facts.derived is None else format_derivation(facts.derived)
    return (
        facts.version,
        facts.base,
        facts.job or pushed,
        facts.round if facts.job else "",
        facts.contributors if facts.job and facts.privacy is None else "",
        format_age(facts.at),
        f"{kept}, {reason}" if reason else kept,
        display.format_metrics(facts.metrics),
    )
