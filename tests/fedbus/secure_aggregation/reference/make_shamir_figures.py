"""Writes shamir_figures.json: shares by `galois`, another implementation of finite fields.

    python -m venv other && other/bin/pip install galois==0.4.11
    other/bin/python tests/fedbus/secure_aggregation/reference/make_shamir_figures.py

The coefficients are those that the test gives to fedbus, so the shares must be equal.
"""

import json
import random
from pathlib import Path

import galois  # type: ignore[import-not-found] # of another environment

PRIME = 2**256 + 297
CASES = ((1, 1), (2, 3), (3, 5), (14, 20), (15, 21))


def main() -> None:
    """Write the figures beside this file."""
    assert galois.next_prime(2**256) == PRIME
    field = galois.GF(PRIME, primitive_element=5, verify=False)
    drawn = random.Random(20260)
    cases = []
    for least, count in CASES:
        secret = drawn.randbytes(32).hex()
        coefficients = [drawn.randrange(PRIME) for _ in range(least - 1)]
        polynomial = galois.Poly([*coefficients, int(secret, 16)], field=field)
        shares = [f"{int(polynomial(field(x))):066x}" for x in range(1, count + 1)]
        chosen = sorted(drawn.sample(range(1, count + 1), least))
        places = field(chosen)
        values = field([int(shares[x - 1], 16) for x in chosen])
        joined = galois.lagrange_poly(places, values)(field(0))
        assert int(joined) == int(secret, 16)
        cases.append(
            {
                "secret": secret,
                "coefficients": [f"{each:066x}" for each in coefficients],
                "shares": shares,
                "chosen": chosen,
            }
        )
    out = Path(__file__).with_name("shamir_figures.json")
    out.write_text(json.dumps(cases, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
