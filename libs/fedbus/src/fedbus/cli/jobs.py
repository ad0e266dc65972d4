"""`fedbus job`: submit, list, show, watch, cancel."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from fedbus.catalogue.idle import idle
from fedbus.cli import faults, show
from fedbus.cli.client import connected
from fedbus.cli.exits import Failed, Interrupted, Refused
from fedbus.cli.here import broker_of
from fedbus.cli.watching import round_line, watch
from fedbus.cli.where import Where
from fedbus.errors import SettingsError
from fedbus.wire import codec
from fedbus.wire.jobfile import JobFileError, params, parse
from fedbus.wire.states import JobState, RoundState
from fedbus.wire.topics import CANCEL, JOB_STATE, ROUND_STATE, SUBMIT

app = typer.Typer(no_args_is_help=True, help="Submit, list, show, watch and cancel jobs.")

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's training_id.")]

CONTROLLER = "the controller"


@app.command()
def submit(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A job file, JSON.")],
    watch_it: Annotated[
        bool, typer.Option("--watch", help="Stay, and show its progress until it ends.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job file; sending the same file again is the same job.

    With --watch it exits 0 if the job finished, and 1 if it failed or was cancelled; --json then
    prints each state as one line. A refused file exits 4, with every fault found, each at its key;
    --json prints them as the controller answered.
    """
    here, payload = broker_of(ctx), _read(file)
    try:
        answer = asyncio.run(submit_job(here, payload))
    except JobRefused as error:
        if as_json:
            (show.print_line if watch_it else show.print_json)(error.answer)
        raise
    _warn(payload)
    if not watch_it:
        if as_json:
            show.print_json(answer)
        else:
            show.say(f"accepted: job {answer['job']}; `fedbus job watch {answer['job']}` shows it")
        return
    if not as_json:
        show.say(f"accepted: job {answer['job']}")
    _watch(here, str(answer["job"]), as_json=as_json, submitted=True)


@app.command("list")
def list_jobs(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the jobs the broker knows of, running or ended."""
    states = asyncio.run(_states(broker_of(ctx)))
    if as_json:
        show.print_json([codec.to_plain(state) for state in states])
        return
    show.print_table(
        ("JOB", "MODEL", "PHASE", "ROUND", "METRICS", "REASON"),
        (
            (
                state.job,
                state.model,
                state.phase,
                f"{state.round}/{state.num_rounds}",
                show.metrics(show.held_out(state.metrics)),
                state.reason,
            )
            for state in states
        ),
        nothing="no jobs yet; `fedbus job submit FILE` submits one",
    )


@app.command("show")
def show_job(ctx: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Show where a job stands, and its rounds.

    --json prints what is retained on jobs/ID/state.
    """
    state, rounds = asyncio.run(_job(broker_of(ctx), job))
    if as_json:
        show.print_json(codec.to_plain(state))
        return
    show.say(f"job      {state.job}")
    show.say(f"model    {state.model}, version {state.version}")
    show.say(f"phase    {state.phase}" + (f": {state.reason}" if state.reason else ""))
    show.say(f"round    {state.round} of {state.num_rounds}")
    show.say(f"metrics  {show.metrics(state.metrics) or 'none yet'}")
    for done in rounds:
        show.say(round_line(done))


@app.command("watch")
def watch_job(ctx: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Show a job's progress until it ends: exit 0 if it finished, 1 if not.

    --json prints each state as one line.
    """
    _watch(broker_of(ctx), job, as_json=as_json)


@app.command()
def cancel(ctx: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Cancel a job; the versions it has committed stay."""
    answer = asyncio.run(_ask(broker_of(ctx), "cancel", job.encode()))
    if as_json:
        show.print_json(answer)
    if not answer.get("cancelled"):
        raise Refused(f"job {job} is not cancelled: {answer.get('reason', 'no reason was given')}")
    if not as_json:
        show.say(f"job {job} is cancelled")


def _watch(here: Where, job: str, *, as_json: bool, submitted: bool = False) -> None:
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
        show.say(f"job {job} finished: {end.reason}")
        show.say(f"{end.model} version {end.version}: {show.metrics(end.metrics)}")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from error


def _warn(payload: bytes) -> None:
    # A controller of another version may have taken what this one would not.
    with suppress(JobFileError):
        if said := idle(params(parse(payload))):
            show.warn(said)


class JobRefused(Refused):
    """The controller found faults in a job file."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.answer = answer
        found = answer.get("faults", ())
        super().__init__(faults.sentence("the controller refused the job", found))


async def submit_job(here: Where, payload: bytes) -> dict[str, Any]:
    """Submit a job file.

    Raises:
        JobRefused: the controller found faults in it; all of them.
        Unreachable: the controller does not answer.
    """
    answer = await _ask(here, "submit", payload)
    if not answer.get("accepted"):
        raise JobRefused(answer)
    return answer


async def _ask(here: Where, what: str, payload: bytes) -> dict[str, Any]:
    topic = here.topic(SUBMIT if what == "submit" else CANCEL)
    kind = "application/json" if what == "submit" else None
    async with connected(here) as client:
        packet = await client.ask(topic, payload, of=CONTROLLER, content_type=kind, kept=True)
    answer: dict[str, Any] = show.plain_json(packet.payload)
    return answer


async def _states(here: Where) -> list[JobState]:
    async with connected(here) as client:
        packets = await client.retained(here.topic(JOB_STATE, job="+"))
    return [codec.from_json(JobState, packet.payload) for packet in packets]


async def _job(here: Where, job: str) -> tuple[JobState, list[RoundState]]:
    state_topic = here.topic(JOB_STATE, job=job)
    rounds_topic = here.topic(ROUND_STATE, job=job, round="+")
    async with connected(here) as client:
        packets = await client.retained(state_topic, rounds_topic)
    payloads = {packet.topic: packet.payload for packet in packets}
    if state_topic not in payloads:
        raise Refused(f"no job {job!r} is known; `fedbus job list` names those that are")
    state = codec.from_json(JobState, payloads.pop(state_topic))
    rounds = [codec.from_json(RoundState, payload) for payload in payloads.values()]
    return state, sorted(rounds, key=lambda done: done.round)
