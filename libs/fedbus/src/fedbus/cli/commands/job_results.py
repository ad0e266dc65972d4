"""`fedbus job file`, `fedbus job result` and `fedbus job results`: what is stored of jobs."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.output import display
from fedbus.cli.output.epsilon_text import format_job_epsilon, format_spent
from fedbus.cli.output.times import format_age, format_time
from fedbus.cli.output_files import check_writable, write_bytes
from fedbus.client.names import job_id, model_name
from fedbus.energy.energy_sums import format_energy
from fedbus.text import counted
from fedbus.wire.messages import JobResult, RoundOutcome
from fedbus.wire.result_record import final_loss, result_record

SHOWN_ROUNDS = 20
SHOWN_JOBS = 20

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's training_id.", callback=job_id)]


def file(
    ctx: typer.Context,
    job: JobId,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="By default standard output."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the file of a job as it was submitted, byte for byte; also of an old or forgotten job.

    --json prints the file as JSON under "file", beside the job's id, model, configuration_id and
    the time at which it was submitted.
    """
    if output is not None:
        check_writable(output)
    shown = call(broker_of(ctx), lambda fed: fed.job_file(job))
    if output is not None:
        write_bytes(output, shown.file)
    if as_json:
        display.print_json(
            {
                "training_id": shown.job,
                "model_name": shown.model,
                "configuration_id": shown.configuration,
                "submitted": shown.submitted,
                "file": json.loads(shown.file.decode("utf-8-sig")),
            }
        )
    elif output is not None:
        display.show(f"{output}: the file of job {job}, configuration {shown.configuration}")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(shown.file)
        if not shown.file.endswith(b"\n") and sys.stdout.isatty():
            display.print_verbatim("")


def result(
    ctx: typer.Context,
    job: JobId,
    limit: Annotated[
        int | None,
        typer.Option(
            "--last", min=1, metavar="N", help=f"The last N rounds; {SHOWN_ROUNDS} by default."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a job has come to: version, metrics, rounds, strategy, what was spent and used.

    It is read from the repository's records, which are never deleted; `fedbus job show` shows what
    the broker retains, with the refusals of each round. --json prints the result record, with all
    rounds under results.history unless --last says how many.
    """
    wanted = limit or (None if as_json else SHOWN_ROUNDS)
    report = call(broker_of(ctx), lambda fed: fed.job_result(job, limit=wanted))
    if as_json:
        display.print_json(report.record)
        return
    found = report.result
    version = "no version yet" if found.version is None else f"version {found.version}"
    display.show(f"job            {found.job}")
    display.show(f"model          {found.model}, {version}")
    display.show(f"configuration  {found.configuration or 'its file cannot be read'}")
    if found.strategy is not None:
        display.show(f"strategy       {found.strategy.id}")
    reason = f": {found.reason}" if found.reason else ""
    display.show(f"phase          {found.phase}{reason}")
    display.show(f"submitted      {format_time(found.submitted)}")
    if found.ended is not None:
        display.show(f"ended          {format_time(found.ended)}")
    agents = f", the last one by {counted(found.contributors, 'agent')}"
    display.show(f"rounds         {found.rounds}{agents if found.contributors else ''}")
    display.show(f"metrics        {display.format_metrics(found.metrics) or 'none'}")
    if found.privacy is not None:
        display.show(f"privacy        {format_spent(found.privacy)}")
    if found.energy is not None:
        display.show(f"energy         {format_energy(found.energy)}")
    for each in report.rounds:
        display.show(_round_line(each))
    if len(report.rounds) < found.rounds:
        earlier = counted(found.rounds - len(report.rounds), "earlier round")
        display.show(f"{earlier}; `--last {found.rounds}` shows all")


def results(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Option("--model", help="The model that the jobs train.", callback=model_name)
    ],
    last: Annotated[
        int, typer.Option("--last", min=1, metavar="N", help="Only the N newest jobs.")
    ] = SHOWN_JOBS,
    as_json: AsJson = False,
) -> None:
    """Compare the jobs of a model by what they have come to, the newest last.

    Jobs of one configuration_id have files that mean the same. --json prints their result records,
    without rounds.
    """
    found = call(broker_of(ctx), lambda fed: fed.job_results(model, limit=last))
    if as_json:
        display.print_json([result_record(each) for each in found])
        return
    private = any(each.privacy is not None for each in found)
    display.print_table(
        (
            *("JOB", "CONFIGURATION", "STRATEGY", "PHASE", "ROUNDS", "VERSION", "AGE", "METRICS"),
            *(("EPSILON",) * private),
            "LOSS",
        ),
        (_row(each, private=private) for each in found),
        nothing=f"no job has trained {model} yet; `fedbus job submit FILE` submits one",
    )


def _row(found: JobResult, *, private: bool) -> tuple[object, ...]:
    loss = final_loss(found.metrics)
    return (
        found.job,
        found.configuration or "",
        "" if found.strategy is None else found.strategy.id,
        found.phase,
        found.rounds,
        "" if found.version is None else found.version,
        format_age(found.submitted),
        display.format_held_out(found.metrics),
        *((format_job_epsilon(found.privacy),) * private),
        "" if loss is None else f"{loss:.4g}",
    )


def _round_line(done: RoundOutcome) -> str:
    metrics = display.format_held_out(done.metrics) or "no metrics"
    agents = f", {counted(done.contributors, 'agent')}" if done.contributors else ""
    at = f", {format_time(done.at)}" if done.at else ""
    return f"round {done.round:>3}  version {done.version}  {metrics}{agents}{at}"
