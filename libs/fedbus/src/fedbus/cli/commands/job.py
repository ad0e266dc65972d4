"""`fedbus job`: submit, list, show, watch, cancel, forget."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from fedbus.cli import exit_codes
from fedbus.cli.context import broker_of
from fedbus.cli.exit_codes import Interrupted
from fedbus.cli.inputs.job_argument import read_job_file
from fedbus.cli.inputs.names import job_id
from fedbus.cli.output import display
from fedbus.cli.output.job_view import round_line, watch
from fedbus.cli.output.times import age, when
from fedbus.cli.submission import standing, submit_again, submit_job
from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client
from fedbus.client.failures import Failed, JobRefused, Refused
from fedbus.client.job_files import id_of, with_id
from fedbus.client.results import JobHistory, Submission
from fedbus.errors import FedbusError, SettingsError
from fedbus.jobs import JobFileError, parse, training_params_of
from fedbus.training.options.inactive_schedulers import inactive_reason
from fedbus.wire import codec
from fedbus.wire.documents import ENDED_PHASES, JobState

app = typer.Typer(
    no_args_is_help=True,
    help="Submit, list, show, watch, cancel and forget jobs.",
    epilog=exit_codes.TABLE,
)

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's training_id.", callback=job_id)]


class JobPhase(StrEnum):
    """Where a job may stand, as an option."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


@app.command()
def submit(
    ctx: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Job files, JSON; - reads standard input."),
    ],
    watch_it: Annotated[
        bool, typer.Option("--watch", help="Stay, and show its progress until it ends.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Run it once more, under the next id: first.2 after first."),
    ] = False,
    job_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Instead of the file's training_id.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job file; the same file again, under the same id, is the same job.

    A job that has ended is not run again: the answer says when it ended and with what, and exits 0
    if it finished, 1 if not. An id is made where the file has none. A model is trained by one job
    at a time: while it is, another job for it is refused. Of several files each is submitted in
    turn, with --watch once the one before has ended.

    With --watch it exits 0 if the job finished, and 1 if it failed or was cancelled; --json then
    prints each state as one line. A refused file exits 4, with every fault found, each at its key;
    --json prints them as the controller answered. A file that is no JSON exits 2.
    """
    if job_id is not None and (len(files) > 1 or again):
        raise SettingsError("--id names one job: give one file, and no --again")
    here = broker_of(ctx)
    payloads = [(file, read_job_file(file)) for file in files]
    last: FedbusError | None = None
    for file, payload in payloads:
        try:
            wanted = payload if job_id is None else with_id(file, payload, job_id)
            how = _How(again, watch_it, as_json, lines=watch_it or len(files) > 1)
            _submit(here, file, wanted, how)
        except (Refused, Failed) as error:
            if len(files) == 1:
                raise
            last = error
            display.err().print(f"fedbus: {file}: {error}")
    if last is not None:
        kind = Refused if isinstance(last, Refused) else Failed
        raise kind(f"not all of {len(files)} files were taken, or finished")


@dataclass(frozen=True, slots=True)
class _How:
    """How a file is submitted: `lines` asks for JSON on one line each."""

    again: bool
    watch_it: bool
    as_json: bool
    lines: bool


def _submit(here: BrokerLogin, file: str, payload: bytes, how: _How) -> None:
    job, as_json, watch_it = id_of(payload), how.as_json, how.watch_it
    print_json = display.print_line if how.lines else display.print_json
    try:
        if how.again and job is not None:
            answer = asyncio.run(submit_again(here, file, payload, job))
        else:
            answer = asyncio.run(submit_job(here, payload))
    except JobRefused as error:
        if as_json:
            print_json(error.answer)
        raise
    _warn(payload, answer)
    if as_json and (answer.over or not watch_it):
        print_json(answer.answer)
    elif not as_json:
        watching = answer.over or watch_it
        hint = "" if watching else f"; `fedbus job watch {answer.job}` shows it"
        display.say(standing(answer, file) + hint)
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
    """List the jobs the broker knows of, running or ended, the newest last."""
    phases = {each.value for each in phase or JobPhase}
    states = asyncio.run(_states(broker_of(ctx)))
    wanted = [s for s in states if s.phase in phases and model in (None, s.model)]
    wanted = wanted[-last:] if last else wanted
    if as_json:
        display.print_json([codec.to_plain(state) for state in wanted])
        return
    display.print_table(
        ("JOB", "MODEL", "PHASE", "ROUND", "AGE", "METRICS", "REASON"),
        (
            (
                state.job,
                state.model,
                state.phase,
                f"{state.round}/{state.num_rounds}",
                age(state.submitted),
                display.metrics(display.held_out(state.metrics)),
                state.reason,
            )
            for state in wanted
        ),
        nothing="no jobs yet; `fedbus job submit FILE` submits one"
        if not states
        else f"none of {len(states)} jobs is so; `fedbus job list` lists all",
        cut="REASON",
    )


@app.command("show")
def show_job(ctx: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Show where a job stands, and its rounds.

    --json prints what is retained on jobs/ID/state, and on jobs/ID/rounds/N as "rounds"; "agents"
    counts those who train in the round that runs, so it is 0 between rounds and after the end.
    """
    report = asyncio.run(_job(broker_of(ctx), job))
    state, rounds = report.state, report.rounds
    if as_json:
        display.print_json({**codec.to_plain(state), "rounds": [codec.to_plain(r) for r in rounds]})
        return
    display.say(f"job        {state.job}")
    display.say(f"model      {state.model}, version {state.version}")
    display.say(f"phase      {state.phase}" + (f": {state.reason}" if state.reason else ""))
    display.say(f"submitted  {when(state.submitted)}{_ago(state.submitted)}")
    if state.phase in ENDED_PHASES:
        display.say(f"ended      {when(state.ended)}{_ago(state.ended)}")
    display.say(f"round      {state.round} of {state.num_rounds}")
    display.say(f"metrics    {display.metrics(state.metrics) or 'none yet'}")
    for done in rounds:
        display.say(round_line(done) + (f", {when(done.at)}" if done.at else ""))
    if len(rounds) < state.round:
        display.say(
            f"{state.round - len(rounds)} rounds are not retained any more; "
            f"`fedbus models show {state.model}` has their versions"
        )


@app.command("watch")
def watch_job(ctx: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Show a job's progress until it ends: exit 0 if it finished, 1 if not.

    --json prints each state as one line.
    """
    _watch(broker_of(ctx), job, as_json=as_json)


@app.command()
def cancel(ctx: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Cancel a job; the versions it has committed stay."""
    try:
        asyncio.run(_cancel(broker_of(ctx), job))
    except Refused as error:
        if as_json:
            display.print_json(error.answer)
        raise
    if as_json:
        display.print_json({"job": job, "cancelled": True})
    else:
        display.say(f"job {job} is cancelled")


@app.command()
def forget(
    ctx: typer.Context,
    jobs: Annotated[list[str], typer.Argument(metavar="ID...", help="Ended jobs.")],
    as_json: AsJson = False,
) -> None:
    """List ended jobs no more: what the broker retains of them is cleared.

    The versions that they made stay, with who contributed to them, and so do their files: their
    ids can be given to no other job.
    """
    here = broker_of(ctx)
    for job in jobs:
        try:
            asyncio.run(_forget(here, job))
        except Refused as error:
            if as_json:
                display.print_line(error.answer)
            raise
        if as_json:
            display.print_line({"job": job, "forgotten": True})
        else:
            display.say(f"job {job} is forgotten; its versions stay")


def _watch(here: BrokerLogin, job: str, *, as_json: bool, submitted: bool = False) -> None:
    try:
        end = asyncio.run(watch(here, job, as_json=as_json, submitted=submitted))
    except KeyboardInterrupt:
        raise Interrupted(
            f"job {job} goes on; `fedbus job watch {job}` shows it again, `fedbus job cancel "
            f"{job}` ends it"
        ) from None
    if end.phase != "finished":
        raise Failed(f"job {job} {end.phase}: {end.reason}")
    if not as_json:
        display.say(f"job {job} finished: {end.reason}")
        display.say(f"{end.model} version {end.version}: {display.metrics(end.metrics)}")


def _warn(payload: bytes, answer: Submission) -> None:
    for warning in answer.warnings:
        display.warn(warning)
    # A controller of another version may have taken what this one would not.
    with suppress(JobFileError):
        if said := inactive_reason(training_params_of(parse(payload))):
            display.warn(said)


def _ago(moment: str | None) -> str:
    return f" ({age(moment)} ago)" if moment else ""


async def _states(here: BrokerLogin) -> tuple[JobState, ...]:
    async with Client(here) as fed:
        return await fed.jobs()


async def _job(here: BrokerLogin, job: str) -> JobHistory:
    async with Client(here) as fed:
        return await fed.job(job)


async def _cancel(here: BrokerLogin, job: str) -> None:
    async with Client(here, display.warn) as fed:
        await fed.cancel(job)


async def _forget(here: BrokerLogin, job: str) -> None:
    async with Client(here, display.warn) as fed:
        await fed.forget(job)
