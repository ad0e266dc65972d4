"""Protection that an agent's operator requires of tasks that send what it has learned. Pure.

A controller that is deceived, or another job file, could ask for the same training without it.
"""

from typing import Final, Literal

from fedbus.errors import PrivacyError
from fedbus.wire.messages import EvaluateTask, FeatureTask, TrainTask

RequiredProtection = Literal["none", "any", "encryption", "secure-aggregation"]


_KEYS: Final = {
    "any": "secure-aggregation or homomorphic",
    "encryption": "homomorphic",
    "secure-aggregation": "secure-aggregation",
}


def check_protection(
    message: TrainTask | EvaluateTask | FeatureTask, required: RequiredProtection
) -> None:
    """Decline a task whose update or features the collector could read.

    Raises:
        PrivacyError: The task has no protection, or another one than this agent requires.
    """
    if required == "none" or isinstance(message, EvaluateTask):
        return
    if isinstance(message, FeatureTask):
        raise PrivacyError(
            f"the task sends features that another agent reads, and FEDBUS_REQUIRE_PROTECTION is "
            f"{required}: choose another mechanism than mistnet"
        )
    has = {
        "encryption": message.encryption is not None,
        "secure-aggregation": message.masking is not None,
    }
    if not (any(has.values()) if required == "any" else has[required]):
        found = next((name for name, used in has.items() if used), "")
        raise PrivacyError(
            f"the task protects its update by {found or 'nothing'}, and FEDBUS_REQUIRE_PROTECTION "
            f"is {required}: submit the job with privacy-mechanisms.{_KEYS[required]}"
        )
