"""Programs as users of the client write them: mypy holds them to its types."""

import asyncio
from pathlib import Path

import numpy as np

import fedbus
from fedbus.client import Awaiting, JobRefused, JobState, RoundState


async def train(url: str, job: Path) -> dict[str, float]:
    """Run a job to its end, and return how good the model is."""
    async with fedbus.connect(url, answer_seconds=30.0) as fed:
        try:
            name: str = await fed.submit(job)
        except JobRefused as refused:
            raise SystemExit(
                [f"{fault.key}: {fault.problem}" for fault in refused.faults]
            ) from None
        found: dict[str, float] = {}
        async for state in fed.watch(name):
            found = state.metrics
        return found


async def progress(url: str, job: str) -> list[str]:
    """Describe what happens to a job."""
    said: list[str] = []
    async with fedbus.connect(url) as fed:
        async for news in fed.follow(job):
            match news:
                case JobState(phase=phase):
                    said.append(phase)
                case RoundState(round=number, contributors=agents):
                    said.append(f"{number}: {len(agents)} agents")
                case Awaiting(what):
                    said.append(what)
    return said


async def both(url: str) -> tuple[int, int]:
    """Count agents and models at the same time."""
    async with fedbus.connect(url) as fed:
        agents, models = await asyncio.gather(fed.agents(), fed.models())
    return sum(one.online for one in agents), len(models)


def copy(source: str, target: str, model: str) -> int:
    """Bring a model from one deployment to another."""
    with fedbus.connect_sync(source) as here, fedbus.connect_sync(target) as there:
        pulled = here.pull(model)
        pulled.save(f"{model}.npz")
        return there.push(f"{model}.json", weights=f"{model}.npz", reset=True).version


def phases(url: str, job: str) -> list[str]:
    """Collect the phases of a job that was just submitted."""
    with fedbus.connect_sync(url) as fed:
        fed.job_result(job, limit="all")  # type: ignore[arg-type]  # arguments are checked
        fed.forget(job, now=True)  # type: ignore[call-arg]  # and so are their names
        return [state.phase for state in fed.watch(job, submitted=True)]


def likely(url: str, rows: list[list[float]]) -> tuple[str, ...]:
    """Return the most likely class of each row."""
    with fedbus.connect_sync(url) as fed:
        return fed.infer("digits", np.array(rows, np.float32)).classes
