"""The peer of `benchmarks.round`: Flower's server over gRPC, the fastest path Flower has.

    python flower_server.py PORT AGENTS PARAMETERS ROUNDS

Runs in an environment of its own, see README.md beside this file. Reads from stdin how many rounds
to run before it reads again, and writes one JSON object a line: the seconds from configuring a
round to its aggregate, and at the end its own peak memory.
"""

import json
import resource
import sys
import time
from typing import Any

import flwr
import numpy as np

port, agents, parameters, rounds = map(int, sys.argv[1:])


class Clocked(flwr.server.strategy.FedAvg):  # type: ignore[misc]  # flwr is in an environment of its own
    """Federated averaging with a stop-watch around each round."""

    began = 0.0
    left = 0

    def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> Any:  # noqa: ANN401 - Flower's own
        """Wait for leave to go on, and for all clients; then start the watch."""
        client_manager.wait_for(agents)
        while self.left == 0:
            self.left = int(sys.stdin.readline())
        self.left -= 1
        self.began = time.monotonic()
        return super().configure_fit(server_round, parameters, client_manager)

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:  # noqa: ANN401 - Flower's own
        """Stop it once the aggregate is there."""
        aggregate = super().aggregate_fit(server_round, results, failures)
        took = time.monotonic() - self.began
        line = {"round": server_round, "seconds": took, "agents": len(results)}
        print(json.dumps(line), flush=True)
        return aggregate


strategy = Clocked(
    min_fit_clients=agents,
    min_available_clients=agents,
    fraction_evaluate=0.0,
    min_evaluate_clients=0,
    initial_parameters=flwr.common.ndarrays_to_parameters([np.zeros(parameters, np.float32)]),
)
flwr.server.start_server(
    server_address=f"127.0.0.1:{port}",
    config=flwr.server.ServerConfig(num_rounds=rounds),
    strategy=strategy,
    grpc_max_message_length=2**30,
)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print(json.dumps({"peak_mb": round(peak, 1)}), flush=True)
