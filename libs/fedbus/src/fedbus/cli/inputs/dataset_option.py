"""SOURCE, `--loader` and `--loader-options`: the data set that a command reads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedbus.errors import SettingsError, TrainingError

if TYPE_CHECKING:
    from fedbus.data import Dataset

DIGITS = "digits"

Source = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="A file, a folder, or `digits` (scikit-learn's)."),
]
Loader = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="npz, csv, parquet, images, memmap or a plug-in."),
]
Options = Annotated[
    str,
    typer.Option(
        "--loader-options",
        metavar="JSON",
        help='Options of the loader, as {"label": "kind"}; or a JSON file of them.',
    ),
]


def read_source(source: str, loader: str | None, loader_options: str) -> "Dataset":
    """Read a data set.

    Raises:
        FedbusError: the options are not a JSON object, scikit-learn is not installed, or the data
            set cannot be read.
    """
    from fedbus.data import from_arrays
    from fedbus.datasource.config import read

    if source == DIGITS and loader is None and not Path(source).exists():
        try:
            from fedbus.data.digits import digits

            return from_arrays(*digits())
        except ImportError as error:
            raise SettingsError("digits need scikit-learn: pip install scikit-learn") from error
    return read(Path(source), loader, read_options(loader_options))


def read_options(given: str) -> dict[str, Any]:
    """Parse `--loader-options`.

    Raises:
        SettingsError: the text is neither a JSON object nor a file of one.
    """
    from fedbus.data.json_or_file import read_json_or_file

    try:
        options = read_json_or_file(given)
    except TrainingError as error:
        raise SettingsError(f"--loader-options: {error}") from error
    if not isinstance(options, dict):
        raise SettingsError(
            f"--loader-options: expected a JSON object, got {type(options).__name__}"
        )
    return options
