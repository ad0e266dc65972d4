"""Standalone jobs on the disk, and the heavy work of their rounds. Called in a worker thread.

A folder for each job: its file as it came, its report, and the weights its last round left.
"""

from pathlib import Path

from fedbus.atomic_write import atomic_write
from fedbus.errors import StoreError, TrainingError, WireError
from fedbus.model.blob import decode
from fedbus.model.layout import Layout, Weights
from fedbus.model.npz import read_blob, write_npz
from fedbus.wire import codec
from fedbus.wire.model_spec import named_files
from fedbus_edge_agent.host.capabilities import free_storage
from fedbus_edge_agent.standalone.jobs import MAX_KEPT_REPORTS, RoundRequest, RoundResult
from fedbus_edge_agent.standalone.models import UploadedModel, UploadedModels
from fedbus_edge_agent.standalone.schemas import JobReport
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.checks import checked_metrics
from fedbus_edge_agent.training.local_trainer import LocalTrainer, Model


class StandaloneRunner:
    """Trains standalone jobs at an agent's own bench."""

    def __init__(self, folder: Path, trainer: LocalTrainer, models: UploadedModels) -> None:
        self._folder = folder
        self._trainer = trainer
        self._models = models
        self._held: tuple[Path, Model] | None = None

    def load_reports(self) -> list[JobReport]:
        """Read what earlier lives left, the oldest first; what cannot be read stays where it is."""
        reports = self._folder.glob("*/report.json")
        paths = sorted(reports, key=lambda path: path.stat().st_mtime_ns)
        found = []
        for path in paths[-MAX_KEPT_REPORTS:]:
            try:
                found.append(codec.from_json(JobReport, path.read_bytes()))
            except (OSError, WireError):
                continue
        return found

    def job_file(self, job: str) -> bytes | None:
        """Read a job's file, if there is or was such a job."""
        try:
            return (self._folder / job / "job.json").read_bytes()
        except OSError:
            return None

    def save_job_file(self, job: str, job_file: bytes) -> bool:
        """Keep a job's file before it is begun; False: there was one of this id, or is another.

        Raises:
            StoreError: the disk is full, or not writable.
        """
        path = self._folder / job / "job.json"
        if (known := self.job_file(job)) is not None:
            return known == job_file and not path.with_name("report.json").exists()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, job_file)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        return True

    def weights_path(self, job: str) -> Path:
        """Where a job's weights are, once a round is done."""
        return self._folder / job / "weights.npz"

    def free_bytes(self) -> int:
        """Count the free bytes where models and results are kept."""
        return free_storage(self._folder)

    def save_report(self, report: JobReport) -> None:
        """Write a report.

        Raises:
            StoreError: the disk is full, or not writable.
        """
        path = self._folder / report.training_id / "report.json"
        try:
            atomic_write(path, codec.to_json(report))
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error

    def run_round(self, request: RoundRequest, control: TaskControl) -> RoundResult:
        """Train one round from where the last one ended; its weights are on the disk then.

        Raises:
            FedbusError: the model is gone or damaged, or training failed.
            Stopped: the flag was raised.
        """
        control.begin()
        local = self._models.find(request.model, request.version)
        if local is None:
            raise TrainingError(f"model {request.model} {request.version} is not here any more")
        name = self._trainer.choose(local.spec, request.trainer)
        model = self._model(local, name)
        weights = self._begin(request, local, model)
        update = self._trainer.train_weights(request, model, weights, control)
        metrics = checked_metrics(update.metrics)
        path = self.weights_path(request.job)
        try:
            write_npz(path, update.weights)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        self._trainer.save_optimizer_state(request, control)
        return RoundResult(int(update.examples), metrics)

    def _model(self, local: UploadedModel, name: str) -> Model:
        named = named_files([(name, local.spec.architectures[name])])
        files = {blob_ref.digest: local.file(blob_ref) for blob_ref in named}
        if self._held is not None:
            folder, model = self._held
            if (
                folder == local.folder
                and model.spec == local.spec
                and model.files.keys() >= files.keys()
            ):
                return model
        read = {digest: _bytes(path) for digest, path in files.items()}
        model = Model(local.spec, Layout.read(local.spec.layout), read)
        self._held = local.folder, model
        return model

    def _begin(self, request: RoundRequest, local: UploadedModel, model: Model) -> Weights:
        """Take the weights of the last round, or those that were brought, or a trainer's first."""
        if request.round > 1:
            return decode(read_blob(self.weights_path(request.job), model.layout), model.layout)
        if local.weights.exists():
            return decode(_bytes(local.weights), model.layout, "plain")
        return self._trainer.initial_weights(model, request.trainer)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
