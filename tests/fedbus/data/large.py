"""Train on a folder of arrays in a process of its own, or read data, and say what memory it took.

    python large.py FOLDER
    python large.py LOADER PATH

`smaps_rollup` of Linux adds up the process's memory: private is what no other process maps as well,
pages of files among it, as those of the data.
"""

import json
import re
import sys
import threading
from pathlib import Path

import numpy as np

from fedbus import plugins
from fedbus.data.loaders.memmap import memmap

MODEL = Path(__file__).parents[3] / "libs/fedbus/src/fedbus/demo_data/digits.tflite"


def private() -> int:
    """Measure private memory, in bytes: clean and dirty."""
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii", errors="replace")
    return sum(int(kb) * 1024 for kb in re.findall(r"Private_(?:Clean|Dirty):\s+(\d+)", rollup))


def resident() -> int:
    """Measure the most this process ever held, files it maps included, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) * 1024


class Watch(threading.Thread):
    """Measures again and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self.done = threading.Event()

    def run(self) -> None:
        """Keep the highest figure."""
        while not self.done.wait(0.1):
            self.most = max(self.most, private())


def train() -> None:
    """Train one epoch, all rows once."""
    from fedbus.frameworks.tflite.trainer import TfliteTrainer
    from fedbus.training.params import TrainingParams

    data = memmap(sys.argv[1], batch=4096).with_stop(lambda: False)
    trainer = TfliteTrainer({"blob": MODEL.read_bytes()})
    watch = Watch()
    watch.start()
    first = trainer.initial()
    update = trainer.train(first, data, TrainingParams(batch_size=8192, learning_rate=0.01))
    watch.done.set()
    watch.join()
    moved = sum(float(np.abs(update.weights[name] - first[name]).sum()) for name in first)
    print(  # noqa: T201 - the test reads it
        json.dumps(
            {
                "examples": update.examples,
                "progress": data.progress,
                "moved": moved,
                "private": max(watch.most, private()),
                "resident": resident(),
            }
        )
    )


def read(loader: str, path: str) -> None:
    """Load data and read all rows once; memory is told beyond that of the imports."""
    load = plugins.load("loaders", loader)
    before = private()
    watch = Watch()
    watch.start()
    data = load(path)
    loaded = private()
    rows = sum(len(y) for _, y in data.peek())
    watch.done.set()
    watch.join()
    after = private()
    most = max(watch.most, loaded, after)
    print(  # noqa: T201 - as above
        json.dumps(
            {
                "rows": rows,
                "loaded": loaded - before,
                "most": most - before,
                "after": after - before,
            }
        )
    )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        read(*sys.argv[1:])
    else:
        train()
