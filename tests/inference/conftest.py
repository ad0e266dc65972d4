"""An inference service alone with a folder of models, which the tests of one process share."""

from collections.abc import Iterator

import pytest

from benchmarks.live_inference import LiveService, live_service
from tests.inference.model_folder import MAX_REQUEST_MB, ModelFolder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """Make a folder of models."""
    folder = ModelFolder(tmp_path_factory.mktemp("models"))
    folder.copy_files("plain.tflite", "two.onnx")
    return folder


@pytest.fixture(scope="session")
def service(models: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """Run a service with this folder, open over HTTP and gRPC, until the process of tests ends."""
    with live_service(
        tmp_path_factory.mktemp("alone"),
        models=str(models.path),
        grpc_model="digits",
        max_request_mb=str(MAX_REQUEST_MB),
    ) as running:
        for model in ("digits", "plain", "two"):
            running.until_ready(model)
        yield running
