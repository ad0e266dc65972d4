"""Writer of banded_figures.json: banded noise as jax-privacy computes it.

    python3 -m venv /tmp/reference && /tmp/reference/bin/pip install jax-privacy==2.0.0
    /tmp/reference/bin/python tests/fedbus/privacy/reference/make_banded_figures.py

`test_banded.py` compares ours with it. For each case: steps, bands, min_separation and
max_participations; then the coefficients c and d, the sensitivity of C under those participations,
and the root of the mean over the steps of the error's variance, per unit of noise.
"""

import json
from pathlib import Path
from typing import Any

import jax
from jax_privacy.matrix_factorization import toeplitz

jax.config.update("jax_enable_x64", True)

CASES = (
    (1, 1, 1, 1),
    (12, 1, 1, 3),
    (12, 1, 4, 3),
    (12, 2, 2, 4),
    (24, 3, 5, 3),
    (60, 8, 8, 7),
    (100, 9, 9, 11),
    (200, 16, 20, 10),
    (300, 50, 50, 2),
    (20, 9, 9, 3),
)


def figures(steps: int, bands: int, separation: int, participations: int) -> dict[str, Any]:
    """Return what jax-privacy computes for one case."""
    square_root = toeplitz.optimal_max_error_strategy_coefs(bands)
    inverse = toeplitz.inverse_coef(square_root, steps)
    squared = toeplitz.minsep_sensitivity_squared(square_root, separation, participations, steps)
    errors = toeplitz.per_query_error(strategy_coef=square_root, n=steps)
    return {
        "steps": steps,
        "bands": bands,
        "min_separation": separation,
        "max_participations": participations,
        "coefficients": [float(each) for each in square_root],
        "inverse": [float(each) for each in inverse],
        "sensitivity": float(squared) ** 0.5,
        "root_mean_square_error": float(errors.mean()) ** 0.5,
    }


if __name__ == "__main__":
    made = {"jax-privacy": "2.0.0", "cases": [figures(*case) for case in CASES]}
    target = Path(__file__).parent / "banded_figures.json"
    target.write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="utf-8")
