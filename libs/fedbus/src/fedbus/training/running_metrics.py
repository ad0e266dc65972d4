"""Loss and accuracy of a training or evaluation, summed batch by batch. Pure."""

import math
from dataclasses import dataclass

from fedbus.errors import TrainingError


@dataclass(slots=True)
class RunningMetrics:
    """Sums of the loss, of correct predictions and of examples, over all batches so far."""

    loss: float = 0.0
    correct: float = 0.0
    examples: int = 0

    def add(self, *, loss: float, correct: float, examples: int) -> None:
        """Add a batch: its mean loss, its number of correct predictions, its examples."""
        self.loss += loss * examples
        self.correct += correct
        self.examples += examples

    def metrics(self) -> dict[str, float]:
        """Compute mean loss and accuracy; raise TrainingError for no example or no finite loss."""
        if not self.examples:
            raise TrainingError("expected at least one example, got an empty data set")
        loss = self.loss / self.examples
        if not math.isfinite(loss):
            raise TrainingError(f"the loss became {loss}; a lower learning_rate may help")
        return {"loss": loss, "accuracy": self.correct / self.examples}
