"""`fedbus job check`: a job file's strategy and what it promises, without a broker."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

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

if TYPE_CHECKING:
    from fedbus.strategies.encryption_key_faults import EncryptionKeyFacts

NO_KEY: Final = (
    "privacy-mechanisms.homomorphic: not checked against the encryption key of the "
    "controller; give its public key with --encryption-key FILE"
)


def check(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A job file, JSON; - reads standard input.")
    ],
    encryption_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The public key of the controller, for a job with homomorphic encryption.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a job file without a broker, and show its strategy and what it promises.

    Each fault is printed with its key, as the controller does; the exit code is then 2. Whether the
    job fits its model and the agents that are online is checked when it is submitted. Of a private
    job, the warnings state its ε after all rounds, if fedbus[accounting] is installed. A job with
    homomorphic encryption is checked against --encryption-key; without it, the parameters of the
    key are those that suffice for the job.
    """
    # Parts of strategies need NumPy, unlike other commands.
    from fedbus.strategies.combinations import strategy_faults
    from fedbus.strategies.privacy_rules import first_round_fault
    from fedbus.strategies.resolution import resolve_job

    key = _key_facts(encryption_key)
    try:
        job = parse(read_job_file(file), partial(strategy_faults, encryption=key))
    except JobFileError as error:
        raise refused_before_start(Path(file), error.faults, as_json=as_json) from error
    strategy = resolve_job(job, encryption=key)
    terms, aggregator = strategy.privacy, strategy.aggregator.id
    fault = None if terms is None else first_round_fault(terms, aggregator)
    if fault is not None:
        raise refused_before_start(Path(file), (fault,), as_json=as_json)
    warnings = warnings_about(job, strategy)
    unchecked = [NO_KEY] if strategy.encryption is not None and encryption_key is None else []
    if as_json:
        plain = codec.to_plain(strategy)
        display.print_json(
            {
                "accepted": True,
                "strategy": plain,
                "warnings": warnings,
                "unchecked": unchecked,
            }
        )
        return
    display.show(f"{file} has no faults")
    display.show(f"strategy  {format_strategy(strategy)}")
    for warning in (*warnings, *unchecked):
        display.warn(warning)


def _key_facts(file: Path | None) -> "EncryptionKeyFacts":
    """Return what the file of a public key says; without a file, those of no key in particular."""
    from fedbus.encryption.key_files import PublicKey
    from fedbus.strategies.encryption_key_faults import UNKNOWN_KEY, EncryptionKeyFacts

    if file is None:
        return UNKNOWN_KEY
    public = PublicKey.load(file)
    return EncryptionKeyFacts(id=public.id, parameters=public.parameters)


def warnings_about(job: JobFile, strategy: Strategy) -> list[str]:
    """Return warnings about a valid job file, which need neither its model nor its agents."""
    from fedbus.strategies.privacy_warnings import privacy_warnings
    from fedbus.strategies.protection_warnings import protection_warnings

    inactive = inactive_reason(training_params_of(job))
    private = () if strategy.privacy is None else privacy_warnings(job, strategy.privacy)
    empty = [EMPTY] if job.promises_nothing else []
    hidden = protection_warnings(job, strategy)
    return [*([inactive] if inactive else ()), *empty, *private, *hidden]
