"""`fedbus job check`: a job file's strategy and what it promises, without a broker."""

from pathlib import Path
from typing import Annotated

import typer

from fedbus.cli.context import AsJson
from fedbus.cli.inputs.job_argument import read_job_file
from fedbus.cli.output import display
from fedbus.cli.output.job_refusal import refused_before_start
from fedbus.jobs import JobFile, JobFileError, parse, training_params_of
from fedbus.jobs.privacy_consistency import EMPTY
from fedbus.training.options.inactive_schedulers import inactive_reason
from fedbus.wire import codec
from fedbus.wire.strategies import Strategy
from fedbus.wire.strategy_text import format_strategy


def check(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A job file, JSON; - reads standard input.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check a job file without a broker, and show its strategy and what it promises.

    Each fault is printed with its key, as the controller does; the exit code is then 2. Whether the
    job fits its model and the agents that are online is checked when it is submitted. Of a private
    job, the warnings state its ε after all rounds, if fedbus[accounting] is installed.
    """
    # Parts of strategies need NumPy, unlike other commands.
    from fedbus.strategies.combinations import strategy_faults
    from fedbus.strategies.privacy_rules import first_round_fault
    from fedbus.strategies.resolution import resolve_job

    try:
        job = parse(read_job_file(file), strategy_faults)
    except JobFileError as error:
        raise refused_before_start(Path(file), error.faults, as_json=as_json) from error
    strategy = resolve_job(job)
    terms, aggregator = strategy.privacy, strategy.aggregator.id
    fault = None if terms is None else first_round_fault(terms, aggregator)
    if fault is not None:
        raise refused_before_start(Path(file), (fault,), as_json=as_json)
    warnings = warnings_about(job, strategy)
    if as_json:
        plain = codec.to_plain(strategy)
        display.print_json({"accepted": True, "strategy": plain, "warnings": warnings})
        return
    display.show(f"{file} has no faults")
    display.show(f"strategy  {format_strategy(strategy)}")
    for warning in warnings:
        display.warn(warning)


def warnings_about(job: JobFile, strategy: Strategy) -> list[str]:
    """Return warnings about a valid job file, which need neither its model nor its agents."""
    from fedbus.strategies.privacy_warnings import privacy_warnings

    inactive = inactive_reason(training_params_of(job))
    private = () if strategy.privacy is None else privacy_warnings(job, strategy.privacy)
    empty = [EMPTY] if job.promises_nothing else []
    return [*([inactive] if inactive else ()), *empty, *private]
