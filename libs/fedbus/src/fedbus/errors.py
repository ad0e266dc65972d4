"""Tree of the errors that fedbus raises.

    FedbusError
    ├── WireError         a message, topic or job file that cannot be read
    ├── TransferError     a blob that did not arrive complete and unchanged
    ├── LayoutError       weights that do not fit the layout of their model
    ├── EncryptionError   an update or a version that cannot be encrypted, added or decrypted
    ├── PluginError       a plug-in that is missing, not allowed, or does not load
    ├── SettingsError     a setting with an invalid value; the message names it
    ├── BusError          the broker is unreachable or refused this node
    ├── StoreError        the store cannot be read or written
    │   ├── StoreFullError         its disk or its database has no space left
    │   ├── StoreUnreachableError  it does not answer now; a later attempt may succeed
    │   ├── StoreUnusableError     an operator must mend what is around it: its disk, its login
    │   └── StoreDamagedError      a record or a blob of it is damaged or missing
    ├── TrainingError     data or parameters that a trainer cannot use
    │   └── PrivacyError  a private training that cannot keep what the job promises
    ├── MaskingError      a step of a masked round that an agent or a collector refuses
    ├── Stopped           work that was cancelled: no fault
    └── of fedbus.client: Failed, Unreachable, Refused and its kind JobRefused

Errors of other packages are translated at the call that raises them. The message states what
failed, where, what was expected, and how to correct it.
"""

from typing import ClassVar, Literal


class FedbusError(Exception):
    """The root of all errors that fedbus raises."""


class WireError(FedbusError):
    """A message, topic or job file cannot be read."""


class TransferError(FedbusError):
    """A blob did not arrive complete and unchanged."""


class LayoutError(FedbusError):
    """Weights do not fit the layout of their model."""


class EncryptionError(FedbusError):
    """An update or a version cannot be encrypted, added or decrypted."""


class PluginError(FedbusError):
    """A plug-in is missing, not allowed here, or does not load."""


class SettingsError(FedbusError):
    """A setting has an invalid value."""


class BusError(FedbusError):
    """The broker is unreachable or refused this node; `code` is its MQTT 5 reason code, if any."""

    def __init__(self, message: str, code: int | None = None) -> None:
        self.code = code
        super().__init__(message)


StoreFault = Literal["full", "unreachable", "unusable", "damaged", "other"]
"""What is wrong with a store, in one word: what programs decide by."""
RequestRefusalKind = Literal[
    "invalid", "unknown", "conflict", "full", "unreachable", "unusable", "damaged", "other"
]
"""Why a request is refused: its own faults, then those of the store."""


class StoreError(FedbusError):
    """The store cannot be read or written; `fault` says what is wrong with it."""

    fault: ClassVar[StoreFault] = "other"


class StoreFullError(StoreError):
    """The disk or the database of the store has no space left."""

    fault = "full"


class StoreUnreachableError(StoreError):
    """The store does not answer now; the same call may succeed later, without any change."""

    fault = "unreachable"


class StoreUnusableError(StoreError):
    """The store cannot be used until an operator mends what is around it.

    Its disk is read-only or failing, its database refuses the login, or another process changes it.
    """

    fault = "unusable"


class StoreDamagedError(StoreError):
    """A record or a blob of the store is damaged or missing; a backup has it."""

    fault = "damaged"


class TrainingError(FedbusError):
    """A trainer cannot use these data or parameters."""


class PrivacyError(TrainingError):
    """A private training cannot keep what its job promises.

    The message leaves the agent, so it has no figure that follows from the agent's data.
    """


class MaskingError(FedbusError):
    """A step of a masked round is refused: what it asks for, or answers, is not what it must be.

    The message leaves the node, so it has no key, share or number of an update.
    """


class Stopped(FedbusError):  # noqa: N818 - a cancellation is not an error
    """The work was cancelled."""
