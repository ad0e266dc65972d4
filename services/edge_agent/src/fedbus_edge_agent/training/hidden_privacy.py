"""Private tasks with encrypted or masked updates: what an agent declines for its own protection."""

from fedbus.errors import PrivacyError
from fedbus.privacy.terms_faults import hidden_terms_faults
from fedbus.wire.messages import TrainTask


def check_hidden_privacy(task: TrainTask) -> None:
    """Decline a private task whose ε does not hold for the sum of hidden updates.

    Raises:
        PrivacyError: The noise cannot reach an encrypted sum, the cohort is not secret, or updates
            do not count alike.
    """
    privacy, encrypted = task.privacy, task.encryption is not None
    if privacy is None or not (encrypted or task.masking is not None):
        return
    what = f"the privacy mechanism {privacy.mechanism!r}"
    if encrypted and privacy.noise != "agents":
        raise PrivacyError(
            f"{what} has the collector add the noise, which cannot reach an encrypted sum; set "
            "server_side_noising to false"
        )
    if fault := next(hidden_terms_faults(privacy, encrypted=encrypted), None):
        raise PrivacyError(f"{what}: {fault}")
    if task.max_examples != 1:
        raise PrivacyError(
            f"{what} protects updates that count alike, and the task counts up to "
            f"{task.max_examples} examples"
        )
