"""Consistency checks between keys of a job file.

The checks use the values as written, so that other faults do not hide these.
"""

from collections.abc import Iterator, Mapping

from fedbus.jobs.field_types import number_of
from fedbus.jobs.schema import RoundSettings
from fedbus.number_text import format_against
from fedbus.training.options import FRACTIONS, FRAMEWORKS, LOWER_IS_BETTER
from fedbus.wire.documents import JobFault
from fedbus.wire.identifiers import BASE
from fedbus.wire.job_faults import show

Written = Mapping[str, object]

_TARGET = "stopping_target."


def consistency_faults(written: Written) -> Iterator[JobFault]:
    """Yield a fault for each contradiction between keys."""
    yield from _one_learning_rate(written)
    yield from _quorum_within_agents(written)
    yield from _reachable_targets(written)
    yield from _one_trainer(written)
    yield from _one_config(written)
    yield from _named_target(written)


def _one_learning_rate(written: Written) -> Iterator[JobFault]:
    """Compare the two learning rates of `optimizer_config`; that of `config` may differ."""
    short, long = "optimizer_config.lr", "optimizer_config.learning_rate"
    one, other = number_of(written.get(short)), number_of(written.get(long))
    if one is not None and other is not None and one != other:
        problem = f"{format_against(other, one)}, but {short} says {one:g}"
        yield JobFault(key=long, problem=problem, hint="give the learning rate once")


def _quorum_within_agents(written: Written) -> Iterator[JobFault]:
    agents = number_of(written.get("round.agents", RoundSettings().agents))
    quorum = number_of(written.get("round.quorum"))
    if agents is not None and quorum is not None and quorum > agents:
        yield JobFault(
            key="round.quorum",
            problem=f"expected at most {agents:g} (round.agents), "
            f"got {format_against(quorum, agents)}",
        )


def _reachable_targets(written: Written) -> Iterator[JobFault]:
    for key in written:
        metric = key.removeprefix(_TARGET)
        threshold = number_of(written[key]) if key.startswith(_TARGET) else None
        if threshold is None or metric not in FRACTIONS | LOWER_IS_BETTER:
            continue
        if threshold < 0:
            yield JobFault(
                key=key, problem=f"expected at least 0, got {format_against(threshold, 0)}"
            )
        if threshold > 1 and metric in FRACTIONS:
            hint = f"{threshold:g} % is {threshold / 100:g}"
            yield JobFault(
                key=key,
                problem=f"expected at most 1, got {format_against(threshold, 1)}",
                hint=hint,
            )
    raised = str(written.get("stopping_flag", False)).lower() in {"true", "1"}
    if raised and not written.get("stopping_target"):
        hint = "give stopping_target"
        yield JobFault(key="stopping_flag", problem="true, but nothing to stop at", hint=hint)


def _one_trainer(written: Written) -> Iterator[JobFault]:
    trainer = written.get("plugins.trainer")
    if written.get("client_type_id") == BASE and trainer is not None and trainer not in FRAMEWORKS:
        problem = f"{show(trainer)}, but client_type_id says {BASE}, a trainer that fedbus ships"
        yield JobFault(key="plugins.trainer", problem=problem, hint="leave one of them out")


def _one_config(written: Written) -> Iterator[JobFault]:
    config = written.get("config")
    if isinstance(config, list) and len(config) > 1:
        problem = f"{len(config)} entries, of which a job can use only one"
        yield JobFault(key="config", problem=problem, hint="give one")


def _named_target(written: Written) -> Iterator[JobFault]:
    """Reject a value that aerOS reads and never uses, so that no user relies on it."""
    key = "eval_metrics_value"
    if number_of(written.get(key)):
        problem = "it says of no metric that the value is one to stop at"
        yield JobFault(key=key, problem=problem, hint="stopping_target does")
