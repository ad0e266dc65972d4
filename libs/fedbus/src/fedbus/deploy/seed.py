"""`python -m fedbus.deploy.seed`: push the digits model, unless there is one.

What has been trained is never taken back: a second start finds the model and leaves it.
"""

import asyncio
import os
import sys
from pathlib import Path

from fedbus import demo_data
from fedbus.cli.commands.models import list_models, push_model
from fedbus.client.address import where
from fedbus.client.failures import Unreachable
from fedbus.client.packing import read_model
from fedbus.errors import BusError, FedbusError

ATTEMPTS = 4
"""The repository may still be starting; an attempt takes 15 s where nobody answers."""

SPEC = Path(str(demo_data.__file__)).with_name("model.json")


async def seed() -> str:
    """Push the model if it is missing; say what is there then."""
    here, packed = where(os.environ), read_model(SPEC)
    name = packed.push.model
    kept = {ref.model: ref for ref in await list_models(here)}
    if name in kept:
        return f"the repository has {name}, version {kept[name].version}"
    ref = await push_model(here, packed)
    return f"{ref.model} is stored as version {ref.version}"


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
