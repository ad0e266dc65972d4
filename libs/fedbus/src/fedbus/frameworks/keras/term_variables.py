"""A strategy's terms as variables of a compiled training step, and optimizers that add them."""

# Keras has no types, so all that comes from it is Any.
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from fedbus.frameworks.keras.tensors import named
from fedbus.training.local_terms import LocalTerms


class TermVariables:
    """Factors and base of the terms, for each trainable variable of a model.

    They are variables, so that a step that is compiled once computes with those of each round.

    Args:
        model: A built model.
        proximal: Whether there is a proximal term: it needs a copy of the trainable variables.
        linear: Whether there is a linear term: it needs another one.
    """

    def __init__(self, model: Any, *, proximal: bool, linear: bool) -> None:  # noqa: ANN401 - see above
        names = {id(variable): name for name, variable in named(model).items()}
        trained = model.trainable_variables
        self._named = {names[id(variable)]: variable for variable in trained}
        self._proximal = keras.Variable(0.0, trainable=False, dtype="float32")
        self._base = {id(v): _zeros_like(v) for v in trained if proximal}
        self._linear = {id(v): _zeros_like(v) for v in trained if linear}

    def assign(self, terms: LocalTerms) -> None:
        """Copy terms, and the present weights of the model as the base."""
        self._proximal.assign(terms.proximal)
        for name, variable in self._named.items():
            if self._base:
                self._base[id(variable)].assign(variable)
            if self._linear:
                factor, array = self._linear[id(variable)], terms.linear.get(name)
                factor.assign(ops.zeros_like(factor) if array is None else array)

    def add(self, grads: Sequence[Any], variables: Sequence[Any], scale: float) -> list[Any]:
        """Return gradients with those of the terms, which are multiplied by `scale`.

        A variable that the loss does not depend on has the gradient None.
        """
        found = []
        for grad, variable in zip(grads, variables, strict=True):
            total = tf.convert_to_tensor(ops.zeros_like(variable) if grad is None else grad)
            with tf.control_dependencies([total]):  # not all at once: that takes the memory of each
                if (factor := self._linear.get(id(variable))) is not None:
                    total += scale * factor.value if scale != 1 else factor.value
                if (base := self._base.get(id(variable))) is not None:
                    proximal = tf.cast(self._proximal.value * scale, total.dtype)
                    total += proximal * (variable.value - base.value)
            found.append(total)
        return found


def adding(kind: Any, terms: TermVariables) -> Any:  # noqa: ANN401 - see above
    """Return a class of optimizers that add terms to the gradients, before clipping for example."""

    class Adding(kind):  # type: ignore[misc]  # a class known at run time only
        def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:  # noqa: ANN401 - as in Keras
            scale = self.loss_scale_factor or 1.0  # the gradients are those of the scaled loss
            super().apply(terms.add(grads, trainable_variables, scale), trainable_variables)

    return Adding


def _zeros_like(variable: Any) -> Any:  # noqa: ANN401 - see above
    return keras.Variable(ops.zeros_like(variable), trainable=False, dtype=variable.dtype)
