"""A resident Flower client that trains nothing: `python flower_client.py PORT`."""

import sys
from typing import Any

import flwr
import numpy as np


class Idle(flwr.client.NumPyClient):  # type: ignore[misc]  # flwr is in an environment of its own
    """Adds a little to every number, so that an update is as large as a real one."""

    def fit(self, parameters: Any, config: Any) -> Any:  # noqa: ANN401, ARG002 - Flower's own
        """Answer at once."""
        return [array + np.float32(0.01) for array in parameters], 10, {}


flwr.client.start_client(
    server_address=f"127.0.0.1:{int(sys.argv[1])}",
    client=Idle().to_client(),
    grpc_max_message_length=2**30,
    insecure=True,
)
