"""Submission of job files, and the line that reports its result."""

from fedbus.cli.output import display
from fedbus.cli.output.times import format_time
from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client
from fedbus.client.failures import Failed, JobRefused
from fedbus.client.job_files import next_id, with_id
from fedbus.client.job_reports import Submission

MAX_RUNS = 1000
"""Highest number that `--again` appends to a job id."""


async def submit_job(here: BrokerLogin, payload: bytes) -> Submission:
    """Submit a job file.

    Raises:
        JobRefused: the controller found faults in it.
        Unreachable: the controller does not answer.
    """
    async with Client(here, display.warn) as fed:
        return await fed.submission(payload)


async def submit_again(here: BrokerLogin, name: str, payload: bytes, job: str) -> Submission:
    """Submit a job file under the next id that no job has: `first.2`, `first.3` and so on.

    Raises:
        JobRefused: the controller found faults in it.
        Unreachable: the controller does not answer.
    """
    async with Client(here, display.warn) as fed:
        known = {state.job for state in await fed.jobs()}
        for _ in range(MAX_RUNS):
            job = next_id(job)
            if job in known:
                continue
            try:
                answer = await fed.submission(with_id(name, payload, job))
            except JobRefused as refused:
                if not refused.taken:
                    raise
                continue  # an old job whose documents are cleared
            if not answer.known:
                return answer
    raise Failed(f"{name}: all {MAX_RUNS} ids that --again tries are taken; choose one with --id")


def format_submission(submission: Submission, file: str) -> str:
    """Format the result of a submission in one line."""
    job, answer = submission.job, submission.answer
    if submission.over:
        results = display.format_held_out(answer.get("metrics") or {})
        return (
            f"job {job} {submission.phase} already at {format_time(answer.get('ended'))}"
            f"{f' with {results}' if results else ''}; nothing runs. `fedbus job submit {file} "
            "--again` runs it again under the next id"
        )
    if submission.known:
        return (
            f"job {job} is already running: submitted at {format_time(answer.get('submitted'))}, "
            f"{answer.get('rounds', 0)} rounds are done"
        )
    return f"accepted: job {job}"
