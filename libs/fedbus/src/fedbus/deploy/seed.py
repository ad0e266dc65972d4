"""`python -m fedbus.deploy.seed`: push the digits model, unless there is one.

What has been trained is never taken back: a second start finds the model and leaves it.
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
"""The repository may still be starting; an attempt takes 15 s where nobody answers."""

SPEC = Path(str(demo_data.__file__)).with_name("model.json")


async def seed() -> str:
    """Push the model if it is missing; return what is stored then."""
    async with fedbus.connect() as fed:
        kept = {each.model: each.version for each in await fed.models()}
        if (name := json.loads(SPEC.read_text("utf-8"))["model"]) in kept:
            return f"the repository has {name}, version {kept[name]}"
        pushed = await fed.push(SPEC)
    return f"{pushed.model} is stored as version {pushed.version}"


async def patiently() -> str:
    """Seed as soon as the repository is there."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await seed()
        except (BusError, Unreachable) as error:
            sys.stdout.write(f"{error}; once more\n")
            await asyncio.sleep(1)
    return await seed()


def main() -> None:
    """Seed; an error is a sentence and exit code 1."""
    try:
        sys.stdout.write(f"{asyncio.run(patiently())}\n")
    except FedbusError as error:
        raise SystemExit(f"fedbus: {error}") from None


if __name__ == "__main__":
    main()
