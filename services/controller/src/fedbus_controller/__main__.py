"""Command `python -m fedbus_controller`."""

from fedbus.runtime import service
from fedbus_controller.app import ControllerSettings, build

if __name__ == "__main__":
    service.main("controller", ControllerSettings, build)
