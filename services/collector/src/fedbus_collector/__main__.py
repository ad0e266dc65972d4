"""Command `python -m fedbus_collector`."""

from fedbus.runtime import service
from fedbus_collector.app import CollectorSettings, build

if __name__ == "__main__":
    service.main("collector", CollectorSettings, build)
