"""Training of a module with DP-SGD: its steps, each with examples and noise of its own."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
from torch import Tensor, nn, optim

from fedbus.data import Dataset
from fedbus.data.drawn_rows import drawn_steps
from fedbus.frameworks.torch.called_model import CalledModel
from fedbus.frameworks.torch.dp_sgd_checks import check_examples_apart
from fedbus.frameworks.torch.example_gradients import ExampleGradients
from fedbus.frameworks.torch.schedules import Schedule
from fedbus.frameworks.torch.term_gradients import TermGradients
from fedbus.model.layout import Array
from fedbus.plugins import SecretNoise
from fedbus.training.dp_sgd import dp_sgd_steps
from fedbus.training.params import DpSgdParams, TrainingParams


@dataclass(frozen=True, slots=True)
class PrivateSteps:
    """What the steps of one training need.

    Attributes:
        model: Calls `net`.
        terms: Terms of the loss that depend on no example: they are added after the noise.
    """

    net: nn.Module
    model: CalledModel
    optimizer: optim.Optimizer
    schedule: Schedule
    terms: TermGradients | None = None

    def walk(
        self, data: Dataset, params: TrainingParams, dp_sgd: DpSgdParams, noise: SecretNoise
    ) -> None:
        """Train all steps; there are no metrics, since none would be private.

        Raises:
            PrivacyError: The module mixes examples.
        """
        plan = dp_sgd_steps(params, dp_sgd.least_examples)
        with ExampleGradients(self.net, dp_sgd, noise) as gradients:
            self._check_apart(gradients, data, params)
            rows = gradients.rows_at_once(params.batch_size)
            steps = drawn_steps(data, plan.total, gradients.drawn(plan.rate), rows)
            for _ in range(plan.epochs):
                for batches in islice(steps, plan.in_epoch):
                    for x, y in batches:
                        gradients.add(self.model.score(x, y, params), len(x))
                    gradients.finish(plan.rate * data.examples)
                    if self.terms is not None:
                        self.terms.add()
                    self.optimizer.step()
                    self.schedule.after_batch()
                self.schedule.after_epoch({})

    def _check_apart(
        self, gradients: ExampleGradients, data: Dataset, params: TrainingParams
    ) -> None:
        x, y = next(data.peek())

        def answer(rows: Array) -> Tensor:
            with self.model.seeded(0):  # the same chance each time
                return self.model.answer(rows)

        def score(rows: Array) -> Tensor:
            return self.model.score(rows, np.repeat(y[:1], len(rows), axis=0), params)

        check_examples_apart(gradients, x[:1], answer, score)
