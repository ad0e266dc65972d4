"""Versions that a request names: by number, by alias or tag, or the latest. Called in threads."""

from fedbus.errors import WireError
from fedbus.http_api.responses import ApiError
from fedbus.wire.version_choice import parse_version_choice
from fedbus_repository.http.refusals import accepted
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.records import Version


def find_version(store: Store, model: str, number: str) -> Version:
    """Return a version; raise ApiError 400 for what is no version, or 404 if there is none."""
    version, name = check_choice(model, number)
    return accepted(store.show(model, version, 0, name=name)).version


def check_choice(model: str, number: str) -> tuple[int | None, str | None]:
    """Return a version's number or name, both None for the latest; raise ApiError 400."""
    try:
        choice = parse_version_choice(f"{model}@{number}")
    except WireError as error:
        raise ApiError(400, str(error)) from error
    return choice.version, choice.name
