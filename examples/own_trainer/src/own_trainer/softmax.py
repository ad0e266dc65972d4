"""A trainer of softmax regression in numpy."""

import numpy as np

from fedbus import Architecture, Array, Dataset, Metrics, TrainingParams, Update, Weights


class SoftmaxTrainer:
    """Trains a linear classifier; architecture: `{"inputs": 64, "classes": 10}`."""

    def __init__(self, architecture: Architecture) -> None:
        self.shape = int(architecture["inputs"]), int(architecture["classes"])

    def initial(self) -> Weights:
        """Return weights of zeros."""
        return {"bias": np.zeros(self.shape[1], np.float32), "w": np.zeros(self.shape, np.float32)}

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        """Take one gradient step for each batch."""
        new = {name: array.copy() for name, array in weights.items()}
        for x, y in data.steps(params):
            wrong = softmax(x @ new["w"] + new["bias"]) - np.eye(self.shape[1], dtype=np.float32)[y]
            new["w"] -= params.learning_rate * (x.T @ wrong) / len(x)
            new["bias"] -= params.learning_rate * wrong.mean(axis=0)
        return Update(new, data.examples, self.evaluate(new, data, params))

    def evaluate(self, weights: Weights, data: Dataset, params: TrainingParams) -> Metrics:
        """Measure loss and accuracy; optional, required for the role `evaluate`."""
        del params
        loss = right = 0.0
        for x, y in data.batches():
            scores = softmax(x @ weights["w"] + weights["bias"])
            loss -= float(np.log(scores[np.arange(len(y)), y] + 1e-9).sum())
            right += float((scores.argmax(axis=1) == y).sum())
        return {"loss": loss / data.examples, "accuracy": right / data.examples}


def softmax(scores: Array) -> Array:
    """Convert scores to probabilities; both have shape (rows, classes)."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares
