"""A server optimizer with momentum."""

from collections.abc import Mapping

from fedbus import Block, Combined


class HeavyBall:
    """Adds a share of each round's step to the next one."""

    state = ("velocity",)

    def __init__(self, *, momentum: float = 0.5) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum: expected a number from 0 to below 1, got {momentum}")
        self.momentum = momentum

    def apply(self, base: Block, combined: Combined, state: Mapping[str, Block]) -> Block:
        """Return base + velocity, where velocity = momentum * velocity + update."""
        state["velocity"][:] = self.momentum * state["velocity"] + combined.update
        return base + state["velocity"]
