"""Command `python -m fedbus_repository`."""

from fedbus.runtime import service
from fedbus_repository.app import RepositorySettings, build

if __name__ == "__main__":
    service.main("repository", RepositorySettings, build)
