"""Arguments of commands that name a model, or a version of one."""

from typing import Annotated

import typer

from fedbus.client.names import model_name, version_choice


def check_version(word: str) -> str:
    """Check that an argument names a version of a model.

    Raises:
        SettingsError: it does not.
    """
    version_choice(word)
    return word


ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="The model's name.", callback=model_name)
]
ModelVersion = Annotated[
    str,
    typer.Argument(
        metavar="MODEL[@VERSION]",
        help="The model's name, for its latest version, or one by number, alias or tag: digits@3, "
        "digits@production.",
        callback=check_version,
    ),
]
VersionNumber = Annotated[
    int | None, typer.Option("--version", help="The number of a version, in place of the @.")
]
