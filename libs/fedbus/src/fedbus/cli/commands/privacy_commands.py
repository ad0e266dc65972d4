"""`fedbus privacy`: the group of its commands, and the key that noise is drawn with."""

from pathlib import Path
from typing import Annotated

import typer

from fedbus.cli.context import AsJson
from fedbus.cli.output import display

app = typer.Typer(
    help="Plan the noise of private jobs, make its key, show what was spent.",
    no_args_is_help=True,
)


@app.callback()
def privacy() -> None:
    """Plan the noise of private jobs, make its key, show what was spent."""


@app.command()
def key(
    file: Annotated[Path, typer.Argument(help="A file that does not exist yet.")],
    as_json: AsJson = False,
) -> None:
    """Make the key that collectors draw the noise of private jobs with.

    The file has 32 random bytes, and only its owner can read it (mode 0600). Copy it to all
    collectors and name it in FEDBUS_NOISE_KEY; keep a copy, since a job goes on with its own key
    only. `fedbus up`, `demo` and `simulate` make one themselves. It needs no cluster.

    fedbus privacy key noise.key
    """
    from fedbus.privacy.noise_key import create_noise_key

    digest = create_noise_key(file).digest
    if as_json:
        display.print_json({"file": str(file), "digest": digest})
    else:
        display.show(f"{file}: a new noise key, SHA-256 {digest}")
        display.show(f"Give the same file to all collectors: FEDBUS_NOISE_KEY={file.resolve()}")
