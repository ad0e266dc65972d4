"""What a model's outputs may mean, as its spec says it: see `fedbus.frameworks.outputs`. Pure.

Apart from the spec's other types, which load pydantic: what trains on a small device reads this.
"""

from typing import Literal

OutputKind = Literal["classes", "probabilities", "logits", "values", "labels"]
"""What a model's outputs mean: `docs/frameworks.md` says what each word stands for."""
