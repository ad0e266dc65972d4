"""`--split`: how commands that deal the handwritten digits deal them."""

from pathlib import Path
from typing import Annotated

import typer

from fedbus.errors import SettingsError

Split = Annotated[
    str | None,
    typer.Option(
        metavar="SAMPLER[:VALUE]",
        help="How the digits are dealt, dirichlet:0.3 by default: any sampler of `fedbus data "
        "split --by`, as iid, label-quantity:2 or mixed:4:alpha=0.1.",
    ),
]


def check_split(split: str | None, data: Path | None) -> None:
    """Refuse what cannot be dealt so, before anything is started.

    Raises:
        SettingsError: there is no such sampler, it takes no such option, or there is nothing to
            deal.
    """
    if split is None:
        return
    if data is not None:
        raise SettingsError("--split deals the digits, and --data brings shards that are dealt")
    from fedbus.data.partition.spec import parse_split

    parse_split(split)
