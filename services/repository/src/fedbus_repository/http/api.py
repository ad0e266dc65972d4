"""The repository's HTTP API, made of its handlers."""

from dataclasses import dataclass
from pathlib import Path

from fedbus.http_api.access import TokenFileAccess
from fedbus.http_api.routes import routes_of
from fedbus.runtime.http import HttpApi
from fedbus.runtime.shell import Shell
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.http.document_handlers import DocumentHandlers
from fedbus_repository.http.draft_handlers import DraftHandlers
from fedbus_repository.http.endpoints import description
from fedbus_repository.http.name_handlers import NameHandlers
from fedbus_repository.http.received_files import UploadPlaces
from fedbus_repository.http.result_handlers import ResultHandlers
from fedbus_repository.http.schemas import (
    CollectorDocument,
    ResultDocument,
    StrategyDocument,
    TransformationDocument,
)
from fedbus_repository.http.version_drafts import VersionDrafts
from fedbus_repository.http.version_file_handlers import VersionFileHandlers
from fedbus_repository.http.version_handlers import VersionHandlers
from fedbus_repository.http.weight_downloads import WeightDownloads
from fedbus_repository.stores.base import Store


@dataclass(frozen=True, slots=True)
class RepositoryHandlers:
    """All handlers, by the names that the endpoint table uses."""

    drafts: DraftHandlers
    versions: VersionHandlers
    files: VersionFileHandlers
    names: NameHandlers
    results: ResultHandlers
    strategies: DocumentHandlers
    transformations: DocumentHandlers
    collectors: DocumentHandlers


def repository_api(store: Store, specs: SpecReader, shell: Shell, tokens: Path) -> HttpApi:
    """Return the API of a repository, with the tokens of a file.

    Raises:
        SettingsError: The tokens cannot be read.
    """
    access, places = TokenFileAccess(tokens), UploadPlaces()
    drafts, downloads = VersionDrafts(store), WeightDownloads(store, specs)
    handlers = RepositoryHandlers(
        DraftHandlers(store, specs, drafts, places, shell),
        VersionHandlers(store, specs, drafts),
        VersionFileHandlers(store, specs, downloads),
        NameHandlers(store, access, shell),
        ResultHandlers(
            store,
            places,
            "training-result",
            ResultDocument,
            ("model_name", "model_version", "training_id"),
            "weights_id",
            downloads,
        ),
        DocumentHandlers(
            store, places, "strategy", StrategyDocument, ("strategy_name",), "strategy_id"
        ),
        DocumentHandlers(
            store, places, "transformation", TransformationDocument, ("id",), "storage_id"
        ),
        DocumentHandlers(
            store, places, "collector", CollectorDocument, ("name", "version"), "collector_id"
        ),
    )
    return HttpApi(routes_of(description(), handlers, access), is_authorized=access.admits)
