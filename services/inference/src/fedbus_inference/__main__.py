"""Command `python -m fedbus_inference`."""

from fedbus.runtime.small_imports import import_little

if __name__ == "__main__":
    import_little()
    from fedbus.runtime import service
    from fedbus_inference.app import build
    from fedbus_inference.settings import InferenceSettings

    service.main("inference", InferenceSettings, build)
