"""Submit job files: what the controller answers, and what that means for whoever waits."""

from collections.abc import Mapping
from typing import Any

from fedbus.cli.inputs.job_files import next_id, with_id
from fedbus.cli.output import display
from fedbus.cli.output.times import when
from fedbus.client.address import Where
from fedbus.client.connection import connected
from fedbus.client.failures import Failed, Refused
from fedbus.jobs import faults_in, listing
from fedbus.wire import codec
from fedbus.wire.documents import ENDED, JobState
from fedbus.wire.topics import JOB_STATE, SUBMIT

CONTROLLER = "the controller"
MOST_RUNS = 1000
"""Of one job that `--again` numbers."""


class JobRefused(Refused):
    """The controller found faults in a job file."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.answer = answer
        super().__init__(listing("the controller refused the job", faults_in(answer)))

    @property
    def taken(self) -> bool:
        """Whether the id belongs to another job."""
        return any(fault.key == "training_id" for fault in faults_in(self.answer))


async def submit_job(here: Where, payload: bytes) -> dict[str, Any]:
    """Submit a job file.

    Raises:
        JobRefused: the controller found faults in it; all of them.
        Unreachable: the controller does not answer.
    """
    async with connected(here, display.warn) as client:
        packet = await client.ask(here.topic(SUBMIT), payload, of=CONTROLLER, kept=True)
    answer: dict[str, Any] = display.plain_json(packet.payload)
    if not answer.get("accepted"):
        raise JobRefused(answer)
    return answer


async def submit_again(here: Where, name: str, payload: bytes, job: str) -> dict[str, Any]:
    """Submit a job file under the next id that no job has: `first.2`, `first.3` and so on.

    Raises:
        JobRefused: the controller found faults in it.
        Unreachable: the controller does not answer.
    """
    async with connected(here) as client:
        packets = await client.retained(here.topic(JOB_STATE, job="+"))
    known = {codec.from_json(JobState, packet.payload).job for packet in packets}
    for _ in range(MOST_RUNS):
        job = next_id(job)
        if job in known:
            continue
        try:
            answer = await submit_job(here, with_id(name, payload, job))
        except JobRefused as refused:
            if not refused.taken:
                raise
            continue  # a job of long ago, of which nothing is retained
        if not answer.get("known"):
            return answer
    raise Failed(f"{name}: {MOST_RUNS} runs of it are known; give it another id with --id")


def over_already(answer: Mapping[str, Any]) -> bool:
    """Tell whether the job of an answer ended before it was submitted this time."""
    return bool(answer.get("known")) and answer.get("phase") in ENDED


def standing(answer: Mapping[str, Any], file: str) -> str:
    """Say in one line what became of a submission."""
    job = answer["job"]
    if over_already(answer):
        results = display.metrics(display.held_out(answer.get("metrics") or {}))
        return (
            f"job {job} {answer['phase']} already at {when(answer.get('ended'))}"
            f"{f' with {results}' if results else ''}; nothing runs. `fedbus job submit {file} "
            "--again` runs it once more, under the next id"
        )
    if answer.get("known"):
        return (
            f"job {job} runs already: submitted at {when(answer.get('submitted'))}, "
            f"{answer.get('rounds', 0)} rounds are done"
        )
    return f"accepted: job {job}"
