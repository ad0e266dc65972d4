"""Command `python -m fedbus_inference`."""

from fedbus.runtime import service
from fedbus_inference.app import build
from fedbus_inference.settings import InferenceSettings


def main() -> None:
    """Run the inference service."""
    service.main("inference", InferenceSettings, build)


if __name__ == "__main__":
    main()
