"""Settings of the repository, beside those of every service."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedbus.runtime.settings import ServiceSettings


class RepositorySettings(ServiceSettings):
    """Settings of the store and the lease."""

    data: Annotated[Path, Field(description="folder of the store")] = Path("data")
    keep_versions: Annotated[
        int, Field(ge=1, description="versions of a model that keep their weights")
    ] = 10
    lease_seconds: Annotated[
        float,
        Field(gt=0, le=3600, description="how long a controller may act without a renewal"),
    ] = 15.0
