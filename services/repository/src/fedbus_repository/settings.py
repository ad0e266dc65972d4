"""What the repository needs to know beyond every service."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedbus.runtime.settings import ServiceSettings


class RepositorySettings(ServiceSettings):
    """Where the truth lies, and how long things are held."""

    data: Annotated[Path, Field(description="folder of the store")] = Path("data")
    keep_versions: Annotated[
        int, Field(ge=1, description="versions of a model that keep their weights")
    ] = 10
    lease_seconds: Annotated[
        float, Field(gt=0, le=3600, description="a controller acts so long without renewing")
    ] = 15.0
