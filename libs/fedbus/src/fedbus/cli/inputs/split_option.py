"""`--split`: how the handwritten digits are partitioned."""

from pathlib import Path
from typing import Annotated

import typer

from fedbus.errors import SettingsError

Split = Annotated[
    str | None,
    typer.Option(
        metavar="SAMPLER[:VALUE]",
        help="How the digits are partitioned, dirichlet:0.3 by default: any sampler of `fedbus "
        "data split --by`, as iid, label-quantity:2 or mixed:4:alpha=0.1.",
    ),
]


def check_split(split: str | None, data: Path | None) -> None:
    """Reject a `--split` that cannot be used, before anything is started.

    Raises:
        SettingsError: the sampler or its option is unknown, or `--data` is already partitioned.
    """
    if split is None:
        return
    if data is not None:
        raise SettingsError(
            "--split partitions the digits, but --data is already partitioned: drop one"
        )
    from fedbus.data.partition.spec import parse_split

    parse_split(split)
