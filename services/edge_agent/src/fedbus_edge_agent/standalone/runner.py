"""Files of standalone jobs, and the training of their rounds; called in threads.

Each job has a folder: its job file as it was sent, its report, and the weights of its last round.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fedbus.atomic_write import atomic_write, os_errors_as_store_errors
from fedbus.errors import TrainingError, WireError
from fedbus.model.blob import decode
from fedbus.model.layout import Layout, Weights
from fedbus.model.npz import read_blob, write_npz
from fedbus.wire import codec
from fedbus.wire.spec_files import named_files
from fedbus_edge_agent.host.capabilities import free_storage
from fedbus_edge_agent.standalone.jobs import MAX_KEPT_REPORTS, RoundRequest, RoundResult
from fedbus_edge_agent.standalone.models import UploadedModel, UploadedModels
from fedbus_edge_agent.standalone.schemas import JobReport
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.checks import checked_metrics
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.task_runner import Model


@dataclass(slots=True)
class StandaloneRunner:
    """Trains the rounds of standalone jobs and stores their files below one folder."""

    folder: Path
    trainer: LocalTrainer
    models: UploadedModels
    _held: tuple[Path, Model] | None = None

    def load_reports(self) -> list[JobReport]:
        """Read the reports of earlier processes, the oldest first; skip those it cannot read."""
        reports = self.folder.glob("*/report.json")
        paths = sorted(reports, key=lambda path: path.stat().st_mtime_ns)
        found = []
        for path in paths[-MAX_KEPT_REPORTS:]:
            with suppress(OSError, WireError):
                found.append(codec.from_json(JobReport, path.read_bytes()))
        return found

    def job_file(self, job: str) -> bytes | None:
        """Read a job's file; None if no such job was ever started."""
        try:
            return (self.folder / job / "job.json").read_bytes()
        except OSError:
            return None

    def save_job_file(self, job: str, file: bytes) -> bool:
        """Store a job's file before the job starts.

        Return False if there is another file of this id, or the job was started before.

        Raises:
            StoreError: The disk is full, or not writable.
        """
        path = self.folder / job / "job.json"
        if (known := self.job_file(job)) is not None:
            return known == file and not path.with_name("report.json").exists()
        with os_errors_as_store_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, file)
        return True

    def weights_path(self, job: str) -> Path:
        """Return the path of a job's weights, which exist once a round is done."""
        return self.folder / job / "weights.npz"

    def free_bytes(self) -> int:
        """Return the free bytes of the disk for models and results."""
        return free_storage(self.folder)

    def save_report(self, report: JobReport) -> None:
        """Write a report; raise StoreError if the disk is full or not writable."""
        path = self.folder / report.training_id / "report.json"
        with os_errors_as_store_errors(path):
            atomic_write(path, codec.to_json(report))

    def run_round(self, request: RoundRequest, control: TaskControl) -> RoundResult:
        """Train one round from the weights of the one before, and store its weights.

        Raises:
            FedbusError: The model was removed or is damaged, training failed, or the disk is full.
            Stopped: The round was cancelled.
        """
        control.begin()
        uploaded = self.models.find(request.model, request.version)
        if uploaded is None:
            raise TrainingError(f"model {request.model} {request.version} is not here any more")
        name = self.trainer.choose(uploaded.spec, request.trainer)
        model = self._load_model(uploaded, name)
        weights = self._load_weights(request, uploaded, model)
        update = self.trainer.weights_trainer.train(request, model, weights, control)
        metrics = checked_metrics(update.metrics)
        path = self.weights_path(request.job)
        with os_errors_as_store_errors(path):
            write_npz(path, update.weights)
        self.trainer.weights_trainer.save_optimizer_state(request, control)
        return RoundResult(int(update.examples), metrics)

    def _load_model(self, uploaded: UploadedModel, name: str) -> Model:
        named = named_files([(name, uploaded.spec.architectures[name])])
        files = {blob_ref.digest: uploaded.file(blob_ref) for blob_ref in named}
        if self._held is not None:
            folder, model = self._held
            same = folder == uploaded.folder and model.spec == uploaded.spec
            if same and model.files.keys() >= files.keys():
                return model
        read = {digest: _read_bytes(path) for digest, path in files.items()}
        model = Model(uploaded.spec, Layout.read(uploaded.spec.layout), read)
        self._held = uploaded.folder, model
        return model

    def _load_weights(
        self, request: RoundRequest, uploaded: UploadedModel, model: Model
    ) -> Weights:
        """Return the weights of the last round, else the uploaded ones, else untrained ones."""
        if request.round > 1:
            return decode(read_blob(self.weights_path(request.job), model.layout), model.layout)
        if uploaded.weights.exists():
            return decode(_read_bytes(uploaded.weights), model.layout, "plain")
        return self.trainer.weights_trainer.initial_weights(model, request.trainer)


def _read_bytes(path: Path) -> bytes:
    with os_errors_as_store_errors(path):
        return path.read_bytes()
