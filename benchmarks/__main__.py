"""Command that runs each benchmark at a small size, each in its own process.

`--json FILE` writes all results into one file. `--peer PYTHON` compares the rounds with Flower's;
see peers/README.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

RUNS: dict[str, tuple[str, ...]] = {
    "transfer": ("benchmarks.transfer", "--megabytes", "128", "--repetitions", "3"),
    "round small": ("benchmarks.round", "--agents", "10", "--parameters", "2500"),
    "round medium": ("benchmarks.round", "--agents", "10", "--parameters", "250000"),
    "round slow agent": (
        *("benchmarks.round", "--agents", "5", "--parameters", "25000"),
        *("--rounds", "5", "--slow-agent", "1"),
    ),
    "fleet": ("benchmarks.fleet", "--agents", "200", "--parameters", "25000"),
    "aggregation": ("benchmarks.aggregation", "--parameters", "1000000"),
    "noise": ("benchmarks.noise", "--numbers", "1000000", "--repetitions", "3"),
    "encryption": ("benchmarks.encryption", "--parameters", "1000000", "--agents", "5"),
    "freezing": ("benchmarks.freezing", "--rounds", "20"),
    "secure aggregation": (
        *("benchmarks.secure_aggregation", "--agents", "20", "--parameters", "250000"),
    ),
    "hidden rounds": ("benchmarks.hidden_rounds", "--rounds", "4", "--blocks", "1"),
    "agent memory": ("benchmarks.agent_memory",),
    "compression": (
        *("benchmarks.compression", "--rounds", "5", "--seeds", "1", "--data", "digits"),
        *("--chains", "cast", "top 10 %, 8 bits", "top 1 %, 8 bits"),
    ),
    "slow links": ("benchmarks.compression.slow_links", "--rounds", "3"),
    "model trail": (
        *("benchmarks.model_trail", "--versions", "10000", "--mongo-versions", "1000"),
        *("--forks", "100"),
    ),
    "ingest": (*("benchmarks.ingest", "--mib", "128", "--mongo-mib", "16", "--repetitions", "1"),),
    "inference": ("benchmarks.inference", "--requests", "200"),
    "inference load": ("benchmarks.inference_load", "--seconds", "1", "--rounds", "2"),
}


def main() -> None:
    """Run all benchmarks, and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures there")
    parser.add_argument("--peer", metavar="PYTHON", help="an environment with flwr==1.13.1")
    options = parser.parse_args()
    figures, broken = {}, []
    with TemporaryDirectory(prefix="fedbus-bench-") as folder:
        for name, command in RUNS.items():
            print(f"── {name}", flush=True)
            out = Path(folder) / "figures.json"
            out.unlink(missing_ok=True)
            more = ["--peer", options.peer] if options.peer and command[0].endswith("round") else []
            to = [] if command[0].endswith("inference") else ["--json", str(out)]
            if subprocess.run([sys.executable, "-m", *command, *more, *to], check=False).returncode:
                broken.append(name)
            elif out.exists():
                figures[name] = json.loads(out.read_text(encoding="utf-8"))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if broken:
        sys.exit(f"these did not come to an end: {', '.join(broken)}")


if __name__ == "__main__":
    main()
