"""What an agent is told of a job: the parameters of its training, in plain types."""

from fedbus.wire.jobfile.model import JobFile, TrainingConfig
from fedbus.wire.values import TrainingParams


def params(job: JobFile) -> TrainingParams:
    """Gather the training parameters; a metric that a target names is measured in any case."""
    config = job.config[0] if job.config else TrainingConfig()
    optimizer = job.optimizer_config
    rates = (config.learning_rate, optimizer.lr, optimizer.learning_rate)
    return TrainingParams(
        batch_size=config.batch_size,
        epochs=config.epochs,
        steps_per_epoch=config.steps_per_epoch,
        learning_rate=next((rate for rate in rates if rate is not None), 0.01),
        optimizer=optimizer.optimizer,
        loss=job.eval_func,
        metrics=tuple(dict.fromkeys((*job.eval_metrics, *job.targets))),
    )
