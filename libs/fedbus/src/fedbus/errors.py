"""Every error fedbus raises on purpose.

    FedbusError
    ├── WireError         a message, topic or job file that cannot be read
    ├── TransferError     a blob that did not arrive as it was promised
    ├── LayoutError       weights that do not fit the model they are said to belong to
    ├── PluginError       a plug-in that is missing, not allowed, or does not load
    ├── SettingsError     a setting with a bad value; names its variable
    ├── BusError          the broker is away, or refused us
    ├── StoreError        the store cannot be read or written
    ├── TrainingError     data or parameters a trainer cannot work with
    └── Stopped           the work was asked to stop, and did: no fault

Errors of other packages are translated at the call that raises them. The sentence says what, where
and the limit.
"""


class FedbusError(Exception):
    """The root: catch it to catch whatever fedbus raises on purpose."""


class WireError(FedbusError):
    """A message, topic or job file cannot be read."""


class TransferError(FedbusError):
    """A blob did not arrive as it was promised."""


class LayoutError(FedbusError):
    """Weights do not fit the model they are said to belong to."""


class PluginError(FedbusError):
    """A plug-in is missing, not allowed here, or does not load."""


class SettingsError(FedbusError):
    """A setting has a bad value."""


class BusError(FedbusError):
    """The broker is away, or refused us; `code` is its reason code of MQTT 5, where it gave one."""

    def __init__(self, said: str, code: int | None = None) -> None:
        self.code = code
        super().__init__(said)


class StoreError(FedbusError):
    """The store cannot be read or written."""


class TrainingError(FedbusError):
    """A trainer cannot work with this data or these parameters."""


class Stopped(FedbusError):  # noqa: N818 - to stop when asked is not an error
    """The work was asked to stop, and did."""
