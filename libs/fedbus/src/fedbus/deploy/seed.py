"""Seed of the repository: `python -m fedbus.deploy.seed` pushes the digits model if it is missing.

A stored model is never replaced, so what was trained stays.
"""

import asyncio
import json
import sys
from pathlib import Path

import fedbus
from fedbus import demo_data
from fedbus.client.failures import Unreachable
from fedbus.errors import BusError, FedbusError

ATTEMPTS = 4
"""The repository may still be starting; an attempt without an answer takes 15 s."""

SPEC = Path(str(demo_data.__file__)).with_name("model.json")


async def seed() -> str:
    """Push the model if it is missing; return a sentence on what is stored."""
    async with fedbus.connect() as fed:
        stored = {each.model: each.version for each in await fed.models()}
        if (name := json.loads(SPEC.read_text("utf-8"))["model"]) in stored:
            return f"the repository has {name}, version {stored[name]}"
        pushed = await fed.push(SPEC)
    return f"{pushed.model} is stored as version {pushed.version}"


async def seed_with_retries() -> str:
    """Seed as soon as the repository answers."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await seed()
        except (BusError, Unreachable) as error:
            sys.stdout.write(f"{error}; trying again\n")
            await asyncio.sleep(1)
    return await seed()


def main() -> None:
    """Seed; on an error print its message and exit with 1."""
    try:
        sys.stdout.write(f"{asyncio.run(seed_with_retries())}\n")
    except FedbusError as error:
        raise SystemExit(f"fedbus: {error}") from None


if __name__ == "__main__":
    main()
