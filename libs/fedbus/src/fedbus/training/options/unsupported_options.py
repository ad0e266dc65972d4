"""Options of a job that a framework does not support, under the job file's keys. Pure."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fedbus.text import listed
from fedbus.training.options import framework_table
from fedbus.training.options.domains import ArgumentDomains
from fedbus.training.params import Argument


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsupportedOption:
    """An option that a framework does not support.

    Attributes:
        key: The option's key in the job file.
        hint: What to write instead; may be empty.
        item: The entry of the list under `key` that is meant; empty where the value is no list.
    """

    key: str
    problem: str
    hint: str = ""
    item: str = ""

    def __str__(self) -> str:
        """Format as a sentence."""
        sentence = f"{self.key}: {self.problem}"
        return f"{sentence}; {self.hint}" if self.hint else sentence


def check_arguments(
    place: str,
    framework: str,
    name: str,
    args: Mapping[str, Argument],
    tables: Mapping[str, Mapping[str, ArgumentDomains]],
) -> Iterator[UnsupportedOption]:
    """Yield faults in the arguments of an optimizer or scheduler.

    Args:
        place: The key in the job file that the arguments stand under.
        tables: Argument domains by framework and by optimizer or scheduler, for hints.
    """
    domains = tables[framework][name]
    having = {other: table[name] for other, table in tables.items() if name in table}
    for arg, value in args.items():
        if arg not in domains:
            elsewhere = any(arg in others for others in having.values())
            where = f" in {framework}" if elsewhere else ""
            problem = f"not an argument of {name}{where}"
            hint = _argument_hint(name, having)
            yield UnsupportedOption(key=f"{place}.{arg}", problem=problem, hint=hint)
        elif fault := domains[arg].fault(value):
            yield UnsupportedOption(key=f"{place}.{arg}", problem=fault)
    for arg, domain in domains.items():
        if domain.required and arg not in args:
            problem = f"missing: {name} needs it"
            yield UnsupportedOption(key=f"{place}.{arg}", problem=problem, hint=str(domain))


def _argument_hint(name: str, having: Mapping[str, ArgumentDomains]) -> str:
    """List the arguments that `name` takes, by framework where they differ."""
    rate = ("lr or learning_rate",) if framework_table.is_optimizer(name) else ()
    args = {other: ", ".join([*rate, *domains]) or "none" for other, domains in having.items()}
    if len(set(args.values())) == 1:
        return f"{name} takes {next(iter(args.values()))}"
    return f"{name} takes " + "; ".join(f"{names} in {other}" for other, names in args.items())


def unknown_name(
    key: str,
    kind: str,
    name: str,
    frameworks: tuple[str, Sequence[str]],
    tables: Mapping[str, Collection[str]],
) -> UnsupportedOption:
    """Describe a name that the checked framework does not have.

    Args:
        key: The name's key in the job file.
        kind: What it names, with an article: `an optimizer`.
        frameworks: The framework that is checked, and all that the job may run on.
    """
    framework, candidates = frameworks
    knowing = [other for other, table in tables.items() if name in table]
    if knowing:
        return UnsupportedOption(
            key=key,
            problem=f"'{name}' is {kind} of {listed(knowing)}, not of {framework}",
            hint=f"{framework} has {listed(tables[framework]) or 'none'}",
        )
    known = sorted({each for other in candidates for each in tables[other]})
    near = difflib.get_close_matches(name[:64], known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there is {listed(known) or 'none'}"
    return UnsupportedOption(key=key, problem=f"'{name}' is unknown", hint=hint)
