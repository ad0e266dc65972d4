"""`fedbus job submit`: job files, or a stored configuration, to the controller."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import typer

from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.inputs.job_argument import read_job_file
from fedbus.cli.output import display
from fedbus.cli.output.job_refusal import refused_by_controller
from fedbus.cli.output.job_view import watch_to_end
from fedbus.cli.submission import format_submission, submit_again, submit_job
from fedbus.client.address import BrokerLogin
from fedbus.client.failures import Failed, JobRefused, Refused
from fedbus.client.job_files import id_of, with_id, with_own_id
from fedbus.client.job_reports import Submission
from fedbus.client.names import configuration_name
from fedbus.errors import FedbusError, SettingsError
from fedbus.jobs import JobFileError, parse, training_params_of
from fedbus.training.options.inactive_schedulers import inactive_reason


def submit(
    ctx: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE...", help="Job files, JSON; - reads standard input."),
    ] = None,
    watch_it: Annotated[
        bool, typer.Option("--watch", help="Show the job's progress until it ends.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Run the job again under the next id: first.2 after first."),
    ] = False,
    job_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Replaces the file's training_id."),
    ] = None,
    configuration: Annotated[
        str | None,
        typer.Option(
            "--configuration",
            metavar="ID",
            help="Submit a stored configuration in place of a file.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job file; the same file with the same id is the same job.

    A job that has ended is not run again: its end and metrics are printed, and the exit code is 0
    if it finished, else 1. A file without an id gets one. One job at a time trains a model; another
    job for that model is refused. Several files are submitted in turn, with --watch each after the
    end of the one before.

    With --watch the exit code is 0 if the job finished, and 1 if it failed or was cancelled; --json
    then prints each state on one line. A refused file exits 4 and prints every fault with its key;
    --json prints the controller's answer. A file that is not JSON exits 2.
    """
    files = files or []
    if bool(files) == (configuration is not None):
        raise SettingsError("give job files, or --configuration ID, which stands for one")
    if configuration is not None and again:
        raise SettingsError("--configuration runs under a new id anyway: leave --again out")
    if job_id is not None and (len(files) > 1 or again):
        raise SettingsError("--id names one job: give one file, and no --again")
    here = broker_of(ctx)
    payloads = [(file, read_job_file(file)) for file in files]
    if configuration is not None:
        name = configuration_name(configuration)
        shown = call(here, lambda fed: fed.configuration(name))
        payloads = [(f"--configuration {name}", with_own_id(name, shown.file))]
    last: FedbusError | None = None
    for file, payload in payloads:
        try:
            wanted = payload if job_id is None else with_id(file, payload, job_id)
            options = _SubmitOptions(again, watch_it, as_json, lines=watch_it or len(payloads) > 1)
            _submit(here, file, wanted, options)
        except (Refused, Failed) as error:
            if len(payloads) == 1:
                raise
            last = error
            display.err().print(f"fedbus: {file}: {error}")
    if last is not None:
        kind = Refused if isinstance(last, Refused) else Failed
        raise kind(f"not all of {len(payloads)} files were accepted, or finished")


@dataclass(frozen=True, slots=True)
class _SubmitOptions:
    """Options of a submission; `lines` prints JSON on one line."""

    again: bool
    watch_it: bool
    as_json: bool
    lines: bool


def _submit(here: BrokerLogin, file: str, payload: bytes, options: _SubmitOptions) -> None:
    job, as_json, watch_it = id_of(payload), options.as_json, options.watch_it
    print_json = display.print_line if options.lines else display.print_json
    try:
        if options.again and job is not None:
            answer = asyncio.run(submit_again(here, file, payload, job))
        else:
            answer = asyncio.run(submit_job(here, payload))
    except JobRefused as error:
        raise refused_by_controller(error, print_json if as_json else None) from None
    _warn(payload, answer)
    if as_json and (answer.over or not watch_it):
        print_json(answer.answer)
    elif not as_json:
        watching = answer.over or watch_it
        hint = "" if watching else f"; `fedbus job watch {answer.job}` shows it"
        display.show(format_submission(answer, file) + hint)
    if answer.over and answer.phase != "finished":
        raise Failed(f"job {answer.job} {answer.phase}: nothing runs")
    if watch_it and not answer.over:
        watch_to_end(here, answer.job, as_json=as_json, submitted=True)


def _warn(payload: bytes, answer: Submission) -> None:
    for warning in answer.warnings:
        display.warn(warning)
    # A controller of another version may accept a file that this version refuses.
    with suppress(JobFileError):
        if reason := inactive_reason(training_params_of(parse(payload))):
            display.warn(reason)
