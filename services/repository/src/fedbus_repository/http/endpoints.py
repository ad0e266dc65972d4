"""Table of the repository's HTTP endpoints: the paths of ASSIST-IoT's FL repository."""

from collections.abc import Sequence

from fedbus.http_api.endpoints import PAGES, ApiDescription, Endpoint, schemas_of
from fedbus_repository.http.document_endpoints import DOCUMENT_ENDPOINTS
from fedbus_repository.http.name_endpoints import NAME_ENDPOINTS
from fedbus_repository.http.result_endpoints import RESULT_ENDPOINTS
from fedbus_repository.http.schemas import (
    AvailableFile,
    ChangePage,
    CollectorDocument,
    ModelUpload,
    NamesReport,
    Promotion,
    RelativesReport,
    ResultDocument,
    RollBack,
    StrategyDocument,
    Tagging,
    TransformationDocument,
    VersionReport,
)
from fedbus_repository.http.version_endpoints import VERSION_ENDPOINTS

ENDPOINTS: Sequence[Endpoint] = (
    *VERSION_ENDPOINTS,
    *NAME_ENDPOINTS,
    *RESULT_ENDPOINTS,
    *DOCUMENT_ENDPOINTS,
    *PAGES,
)


def description() -> ApiDescription:
    """Return the description of the repository's API."""
    kinds = (
        *(ModelUpload, VersionReport, AvailableFile, ResultDocument),
        *(NamesReport, ChangePage, RelativesReport, Tagging, Promotion, RollBack),
        *(StrategyDocument, TransformationDocument, CollectorDocument),
    )
    return ApiDescription("fedbus repository", ENDPOINTS, schemas_of(kinds))
