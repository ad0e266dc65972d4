"""`fedbus tokens`: making, listing and revoking the tokens of HTTP APIs. It needs no cluster."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedbus.cli.context import AsJson
from fedbus.cli.output import display
from fedbus.client.names import check_name
from fedbus.errors import SettingsError

if TYPE_CHECKING:
    from fedbus.http_api.token_file import Tokens

app = typer.Typer(
    help="Make, list and revoke the tokens of HTTP APIs.",
    no_args_is_help=True,
)
TokensFile = Annotated[
    Path,
    typer.Option(
        "--file",
        metavar="FILE",
        envvar="FEDBUS_HTTP_TOKENS_FILE",
        help="The file that the services read; by default FEDBUS_HTTP_TOKENS_FILE.",
    ),
]
TokenName = Annotated[str, typer.Argument(metavar="NAME", help="The token's name, for the log.")]


@app.callback()
def tokens() -> None:
    """Make, list and revoke the tokens of HTTP APIs.

    Services that have this file as FEDBUS_HTTP_TOKENS_FILE read it again when it changes, so a
    new token works, and a revoked one ends, without a restart.
    """


@app.command()
def new(
    name: TokenName,
    scopes: Annotated[
        list[str],
        typer.Argument(metavar="SCOPE…", help="What it allows, such as models:read jobs:write."),
    ],
    file: TokensFile,
    as_json: AsJson = False,
) -> None:
    """Make a token, print it once, and store its SHA-256 in the file.

    Scopes: models:read, models:write, results:read, results:write, documents:read,
    documents:write, jobs:read, jobs:write, inference. The token cannot be read back from the file.

    fedbus tokens new ci-pipeline models:read models:write --file tokens
    """
    from fedbus.http_api.token_file import change_tokens
    from fedbus.http_api.tokens import TOKEN_BYTES, HttpToken, scope_of, token_of

    token = token_of(secrets.token_bytes(TOKEN_BYTES))
    made = HttpToken.of(
        check_name("token's name", name), (scope_of(scope) for scope in scopes), token
    )

    def add(found: "Tokens") -> "Tokens":
        if any(each.name == name for each in found):
            raise SettingsError(
                f"{file}: there is a token {name}; choose another name, or end that one with "
                f"`fedbus tokens revoke {name}`"
            )
        return *found, made

    change_tokens(file, add)
    if as_json:
        display.print_json({"name": name, "scopes": sorted(made.scopes), "token": token})
        return
    print(token)
    display.note(f"Token {name} is in {file}, as a digest: this is the only time it is shown")


@app.command("list")
def list_tokens(file: TokensFile, as_json: AsJson = False) -> None:
    """List the names and scopes of a file's tokens.

    fedbus tokens list --file tokens
    """
    from fedbus.http_api.scopes import SCOPES
    from fedbus.http_api.token_file import load_tokens

    found = load_tokens(file)
    if as_json:
        display.print_json([{"name": each.name, "scopes": sorted(each.scopes)} for each in found])
        return
    for each in found:
        display.show(f"{each.name}  {' '.join(scope for scope in SCOPES if scope in each.scopes)}")
    if not found:
        display.note(f"{file} has no tokens; `fedbus tokens new NAME SCOPE…` makes one")


@app.command()
def revoke(name: TokenName, file: TokensFile, as_json: AsJson = False) -> None:
    """Remove a token: from now on no service that reads this file accepts it.

    fedbus tokens revoke ci-pipeline --file tokens
    """
    from fedbus.http_api.token_file import change_tokens

    def remove(found: "Tokens") -> "Tokens":
        left = tuple(each for each in found if each.name != name)
        if len(left) == len(found):
            known = ", ".join(each.name for each in found) or "none"
            raise SettingsError(f"{file}: there is no token {name}; there is {known}")
        return left

    change_tokens(file, remove)
    if as_json:
        display.print_json({"name": name, "revoked": True})
    else:
        display.show(f"Token {name} is no longer accepted")
