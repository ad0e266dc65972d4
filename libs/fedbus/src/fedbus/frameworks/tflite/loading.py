"""Loading of weights into a user's TFLite interpreter."""

from typing import Any

from fedbus.errors import LayoutError
from fedbus.model.layout import Weights
from fedbus.model.load_into import check_fit


def load_weights(interpreter: Any, weights: Weights) -> None:  # noqa: ANN401 - a class without types
    """Load weights into an interpreter; raise LayoutError if its file does not take them."""
    signatures: dict[str, Any] = getattr(interpreter, "get_signature_list", dict)()
    if not {"get_weights", "set_weights"} <= signatures.keys():
        raise LayoutError(
            "this interpreter's file has no signatures get_weights and set_weights, as files have "
            "that `fedbus models push` exports"
        )
    own = interpreter.get_signature_runner("get_weights")()
    fitted = check_fit(weights, {name.replace("__", "."): array for name, array in own.items()})
    spelt = {name.replace(".", "__"): array for name, array in fitted.items()}
    interpreter.get_signature_runner("set_weights")(**spelt)
