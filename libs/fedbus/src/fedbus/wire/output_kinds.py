"""Kinds of a model's outputs; docs/frameworks.md describes each. Pure.

In a module of its own, since the spec's other types import pydantic, which a trainer does not need.
"""

from typing import Literal

OutputKind = Literal["classes", "probabilities", "logits", "values", "labels"]
"""Meaning of a model's outputs, `answers` in its spec."""
