"""`fedbus job`: submit, check, list, show, file, result, results, watch, cancel, forget."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from operator import methodcaller
from typing import Annotated

import typer

from fedbus.cli import exit_codes
from fedbus.cli.commands import job_results
from fedbus.cli.commands.job_check import check
from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.exit_codes import Interrupted
from fedbus.cli.inputs.job_argument import read_job_file
from fedbus.cli.output import display
from fedbus.cli.output.epsilon_text import format_job_epsilon, format_spent
from fedbus.cli.output.job_refusal import refused_by_controller
from fedbus.cli.output.job_view import format_traffic_sum, report_end, round_line, watch
from fedbus.cli.output.times import format_age, format_time
from fedbus.cli.submission import format_submission, submit_again, submit_job
from fedbus.client.address import BrokerLogin
from fedbus.client.failures import Failed, JobRefused, Refused
from fedbus.client.job_files import id_of, with_id, with_own_id
from fedbus.client.names import configuration_name, job_id
from fedbus.client.results import Submission
from fedbus.energy.energy_sums import format_energy
from fedbus.errors import FedbusError, SettingsError
from fedbus.jobs import JobFileError, parse, training_params_of
from fedbus.training.options.inactive_schedulers import inactive_reason
from fedbus.wire import codec
from fedbus.wire.documents import ENDED_PHASES

app = typer.Typer(
    no_args_is_help=True,
    help="Submit, check, list, show, watch, cancel and forget jobs; read their files and results.",
    epilog=exit_codes.TABLE,
)

app.command("check")(check)
app.command("file")(job_results.file)
app.command("result")(job_results.result)
app.command("results")(job_results.results)

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's training_id.", callback=job_id)]


class JobPhase(StrEnum):
    """Phase of a job, as an option."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


@app.command()
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
        _watch(here, answer.job, as_json=as_json, submitted=True)


@app.command("list")
def list_jobs(
    ctx: typer.Context,
    phase: Annotated[
        list[JobPhase] | None, typer.Option(help="Only jobs of this phase; may be repeated.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs that train this model.")] = None,
    last: Annotated[
        int | None, typer.Option("--last", min=1, metavar="N", help="Only the N newest.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List running and ended jobs, the newest last."""
    phases = {each.value for each in phase or JobPhase}
    states = call(broker_of(ctx), lambda fed: fed.jobs())
    wanted = [s for s in states if s.phase in phases and model in (None, s.model)]
    wanted = wanted[-last:] if last else wanted
    if as_json:
        display.print_json([codec.to_plain(state) for state in wanted])
        return
    private = any(state.privacy is not None for state in wanted)
    display.print_table(
        (
            *("JOB", "MODEL", "PHASE", "ROUND", "AGE", "METRICS"),
            *(("EPSILON",) * private),
            "REASON",
        ),
        (
            (
                state.job,
                state.model,
                state.phase,
                f"{state.round}/{state.num_rounds}",
                format_age(state.submitted),
                display.format_held_out(state.metrics),
                *((format_job_epsilon(state.privacy),) * private),
                state.reason,
            )
            for state in wanted
        ),
        nothing="no jobs yet; `fedbus job submit FILE` submits one"
        if not states
        else f"none of {len(states)} jobs matches; `fedbus job list` lists all",
        cut="REASON",
    )


@app.command("show")
def show_job(ctx: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Show a job's state and its rounds.

    --json prints the documents retained at jobs/ID/state and, as "rounds", at jobs/ID/rounds/N;
    "agents" is the number of agents in the current round: 0 between rounds and after the end.
    """
    report = call(broker_of(ctx), lambda fed: fed.job(job))
    state, rounds = report.state, report.rounds
    if as_json:
        display.print_json({**codec.to_plain(state), "rounds": [codec.to_plain(r) for r in rounds]})
        return
    display.show(f"job        {state.job}")
    display.show(f"model      {state.model}, version {state.version}")
    if state.strategy is not None:
        display.show(f"strategy   {state.strategy}")
    if state.protection:
        display.show(f"protected  {state.protection}")
    if state.steps:
        display.show(f"steps      {state.steps}")
    display.show(f"phase      {state.phase}" + (f": {state.reason}" if state.reason else ""))
    display.show(f"submitted  {format_time(state.submitted)}{_ago(state.submitted)}")
    if state.phase in ENDED_PHASES:
        display.show(f"ended      {format_time(state.ended)}{_ago(state.ended)}")
    display.show(f"round      {state.round} of {state.num_rounds}")
    display.show(f"metrics    {display.format_metrics(state.metrics) or 'none yet'}")
    if state.privacy is not None:
        display.show(f"privacy    {format_spent(state.privacy)}")
    if state.energy is not None:
        display.show(f"energy     {format_energy(state.energy)}")
    if traffic := format_traffic_sum(rounds):
        display.show(f"traffic    {traffic}")
    for done in rounds:
        display.show(round_line(done) + (f", {format_time(done.at)}" if done.at else ""))
    if len(rounds) < state.round:
        display.show(
            f"{state.round - len(rounds)} rounds are no longer retained; "
            f"`fedbus models show {state.model}` has their versions"
        )


@app.command("watch")
def watch_job(ctx: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Show a job's progress until it ends; exits 0 if it finished, else 1.

    --json prints each state as one line.
    """
    _watch(broker_of(ctx), job, as_json=as_json)


@app.command()
def cancel(ctx: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Cancel a job; its committed versions stay."""
    try:
        call(broker_of(ctx), lambda fed: fed.cancel(job))
    except Refused as error:
        if as_json:
            display.print_json(error.answer)
        raise
    if as_json:
        display.print_json({"job": job, "cancelled": True})
    else:
        display.show(f"job {job} is cancelled")


@app.command()
def forget(
    ctx: typer.Context,
    jobs: Annotated[list[str], typer.Argument(metavar="ID...", help="Ended jobs.")],
    as_json: AsJson = False,
) -> None:
    """Remove ended jobs from the list: clear their retained documents.

    Their versions stay, with the contributors, and so do their files; their ids cannot be used
    for other jobs.
    """
    here = broker_of(ctx)
    for job in jobs:
        try:
            call(here, methodcaller("forget", job))
        except Refused as error:
            if as_json:
                display.print_line(error.answer)
            raise
        if as_json:
            display.print_line({"job": job, "forgotten": True})
        else:
            display.show(f"job {job} is forgotten; its versions stay")


def _watch(here: BrokerLogin, job: str, *, as_json: bool, submitted: bool = False) -> None:
    try:
        end = asyncio.run(watch(here, job, as_json=as_json, submitted=submitted))
    except KeyboardInterrupt:
        raise Interrupted(
            f"job {job} continues; `fedbus job watch {job}` shows it, `fedbus job cancel {job}` "
            "cancels it"
        ) from None
    report_end(end, as_json=as_json)


def _warn(payload: bytes, answer: Submission) -> None:
    for warning in answer.warnings:
        display.warn(warning)
    # A controller of another version may accept a file that this version refuses.
    with suppress(JobFileError):
        if reason := inactive_reason(training_params_of(parse(payload))):
            display.warn(reason)


def _ago(moment: str | None) -> str:
    return f" ({format_age(moment)} ago)" if moment else ""
