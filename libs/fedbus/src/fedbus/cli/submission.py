"""Submit job files: what the controller answers, and what that means for whoever waits."""

from fedbus.cli.output import display
from fedbus.cli.output.times import when
from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client
from fedbus.client.failures import Failed, JobRefused
from fedbus.client.job_files import next_id, with_id
from fedbus.client.results import Submission

MOST_RUNS = 1000
"""Of one job that `--again` numbers."""


async def submit_job(here: BrokerLogin, payload: bytes) -> Submission:
    """Submit a job file.

    Raises:
        JobRefused: the controller found faults in it; all of them.
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
        for _ in range(MOST_RUNS):
            job = next_id(job)
            if job in known:
                continue
            try:
                answer = await fed.submission(with_id(name, payload, job))
            except JobRefused as refused:
                if not refused.taken:
                    raise
                continue  # a job of long ago, of which nothing is retained
            if not answer.known:
                return answer
    raise Failed(f"{name}: {MOST_RUNS} runs of it are known; give it another id with --id")


def standing(submission: Submission, file: str) -> str:
    """Format in one line what became of a submission."""
    job, answer = submission.job, submission.answer
    if submission.over:
        results = display.metrics(display.held_out(answer.get("metrics") or {}))
        return (
            f"job {job} {submission.phase} already at {when(answer.get('ended'))}"
            f"{f' with {results}' if results else ''}; nothing runs. `fedbus job submit {file} "
            "--again` runs it once more, under the next id"
        )
    if submission.known:
        return (
            f"job {job} runs already: submitted at {when(answer.get('submitted'))}, "
            f"{answer.get('rounds', 0)} rounds are done"
        )
    return f"accepted: job {job}"
