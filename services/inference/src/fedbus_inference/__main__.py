"""Command `python -m fedbus_inference`."""

from fedbus.runtime import service
from fedbus_inference.app import build
from fedbus_inference.settings import InferenceSettings

if __name__ == "__main__":
    service.main("inference", InferenceSettings, build)
