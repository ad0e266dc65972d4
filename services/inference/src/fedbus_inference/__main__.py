"""`python -m fedbus_inference`: serve until SIGTERM or Ctrl-C."""

from fedbus.runtime import service
from fedbus_inference.app import build
from fedbus_inference.settings import InferenceSettings


def main() -> None:
    """Be the inference service."""
    service.main("inference", InferenceSettings, build)


if __name__ == "__main__":
    main()
