"""Encoding `plain`: the weights themselves, every tensor in its own dtype. Pure."""

from fedbus.model.encodings.dense import Dense


class Plain(Dense):
    """The weights of a version, or the arrays of a strategy's state."""

    name = "plain"
