"""`fedbus job`: submit, check, list, show, file, result, results, watch, cancel, forget."""

from enum import StrEnum
from operator import methodcaller
from typing import Annotated

import typer

from fedbus.cli import exit_codes
from fedbus.cli.commands import job_results
from fedbus.cli.commands.job_check import check
from fedbus.cli.commands.job_submit import submit
from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.output import display
from fedbus.cli.output.epsilon_text import format_job_epsilon, format_spent
from fedbus.cli.output.job_lines import format_traffic_sum, round_line
from fedbus.cli.output.job_view import watch_to_end
from fedbus.cli.output.times import format_age, format_time
from fedbus.client.failures import Refused
from fedbus.client.names import job_id
from fedbus.energy.energy_sums import format_energy
from fedbus.wire import codec
from fedbus.wire.documents import ENDED_PHASES

app = typer.Typer(
    no_args_is_help=True,
    help="Submit, check, list, show, watch, cancel and forget jobs; read their files and results.",
    epilog=exit_codes.TABLE,
)

app.command("submit")(submit)
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
    watch_to_end(broker_of(ctx), job, as_json=as_json)


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


def _ago(moment: str | None) -> str:
    return f" ({format_age(moment)} ago)" if moment else ""
