"""Cost of a masked round, beside the plain sum of the same updates in the same run.

    python -m benchmarks.secure_aggregation --agents 100 --parameters 1000000

All agents and the collector run in one process, without bus and files, and one update is held at a
time. `agent` is the processor time of one agent, all steps and its mask included, the mean over the
agents; `quantize` is what its whole numbers cost before that. `collector` is the time of unpacking,
adding and unmasking. The sum is compared with that of the whole numbers without masks.
"""

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from benchmarks.measure import publish
from fedbus.model.fixed_point import to_fixed_point
from fedbus.model.layout import Layout, Tensor
from fedbus.secure_aggregation.agent_steps import AgentSteps
from fedbus.secure_aggregation.bit_packing import unpack_blocks
from fedbus.secure_aggregation.identity_key import IdentityKey
from fedbus.secure_aggregation.mask_streams import BLOCK_NUMBERS, word_type
from fedbus.secure_aggregation.masked_blob import (
    check_masked_blob,
    masked_header,
    unmask_block,
)
from fedbus.secure_aggregation.masked_round import MaskedRound
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.wire.encryption import FixedPoint
from fedbus.wire.secure_aggregation import SecureAggregationTerms

UPDATE = "0" * 64


class MaskedBenchmark:
    """One masked round, and what each part of it cost."""

    def __init__(self, agents: int, parameters: int, neighbours: int, bits: int) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.parameters = parameters
        self.layout = Layout((Tensor("w", (parameters,), "float32", "weight"),))
        self.terms = SecureAggregationTerms(
            fixed_point=FixedPoint(bits=bits, max_agents=agents, max_examples=1),
            neighbours=neighbours,
            threshold=0.67,
            step_seconds=10,
        )
        task = MaskedTask(job="benchmark", round=1, task=1)
        self.header = masked_header(
            layout=self.layout,
            task=task,
            fixed_point=self.terms.fixed_point,
            ranges=(0,),
            max_examples=1,
            weight=1,
        )
        names = [f"agent.{number:03}" for number in range(agents)]
        identities = {name: IdentityKey(os.urandom(32)) for name in names}
        public = {name: key.public for name, key in identities.items()}
        self.agents = {
            name: AgentSteps(
                agent=name,
                task=task,
                terms=self.terms,
                identity=identities[name],
                identity_of=public.__getitem__,
                random_bytes=os.urandom,
            )
            for name in names
        }
        self.collector = MaskedRound(self.terms, task, names)
        self.total = np.zeros(parameters, word_type(self.header.modulus_bits))
        self.whole = np.zeros(parameters, np.uint64)
        self.plain = np.zeros(parameters, np.float64)
        self.blob_bytes = 0
        self.rng = np.random.default_rng(0)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the processor time of a block to a part's."""
        began = time.process_time()
        yield
        self.seconds[name] += time.process_time() - began

    def run(self) -> None:
        """Run the round."""
        while not self.collector.done:
            assert not self.collector.failed, self.collector.failed
            with self.timed("collector steps"):
                requests = self.collector.requests()
            for name, (step, content) in requests.items():
                with self.timed("agent"):
                    reply = self.agents[name].answer(step, content)
                with self.timed("collector steps"):
                    assert not self.collector.reply(name, step, reply)
                if step == "mask":
                    self.add_update(name)
            with self.timed("collector steps"):
                self.collector.advance()
        with self.timed("collector unmask"):
            unmask_block(self.total, self.collector.masks(), 0, self.header.modulus_bits)
        assert np.array_equal(self.total, self.whole)

    def add_update(self, name: str) -> None:
        """Make an agent's update, mask it, and add it; the update itself is forgotten."""
        update = self.rng.normal(0, 0.1, self.parameters).astype(np.float32)
        with self.timed("plain sum"):
            self.plain += update
        with self.timed("quantize"):
            numbers = to_fixed_point(
                {"w": update}, self.layout, (0,), self.header.bits, 1.0, self.rng
            )
        with self.timed("agent"):
            blob = self.agents[name].mask_update(numbers, self.header)
        self.whole += numbers
        self.blob_bytes = len(blob)
        assert not self.collector.update_taken(name, UPDATE)
        with self.timed("collector add"):
            view, bits = memoryview(blob), self.header.modulus_bits
            start = check_masked_blob(blob, len(blob), self.header, self.parameters)
            blocks = unpack_blocks(
                lambda at, size: view[at : at + size], start, self.parameters, bits
            )
            for number, block in enumerate(blocks):
                at = number * BLOCK_NUMBERS
                self.total[at : at + len(block)] += block


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--neighbours", type=int, default=20)
    parser.add_argument("--bits", type=int, default=16)
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    round_ = MaskedBenchmark(options.agents, options.parameters, options.neighbours, options.bits)
    began = time.perf_counter()
    round_.run()
    wall = time.perf_counter() - began
    seconds, millions = round_.seconds, options.parameters / 1e6
    collector = sum(seconds[f"collector {part}"] for part in ("steps", "add", "unmask"))
    row = {
        "agents": options.agents,
        "parameters": options.parameters,
        "neighbours": options.neighbours,
        "bytes a parameter": round(round_.blob_bytes / options.parameters, 4),
        "agent CPU s a million": round(seconds["agent"] / options.agents / millions, 4),
        "quantize CPU s a million": round(seconds["quantize"] / options.agents / millions, 4),
        "collector CPU s": round(collector, 3),
        "of it steps": round(seconds["collector steps"], 3),
        "of it add": round(seconds["collector add"], 3),
        "of it unmask": round(seconds["collector unmask"], 3),
        "plain sum CPU s": round(seconds["plain sum"], 3),
        "all, wall s": round(wall, 3),
    }
    publish(row, [row], options.json)


if __name__ == "__main__":
    main()
