"""A third-party package with objectives and update transforms, installed by tests."""

from tests.plugin_package import Install

ENTRIES = """
[fedbus.objectives]
drift = acme_strategy:Drift
prox = acme_strategy:Prox
nothing = acme_strategy:Nothing
wrong = acme_strategy:Wrong
empty = acme_strategy:Empty
[fedbus.update_transforms]
scale = acme_strategy:Scale
swap = acme_strategy:Swap
noise = acme_strategy:Noise
spoil = acme_strategy:Spoil
combined = acme_strategy:AtCollector
"""

SOURCE = '''
import numpy as np
import fedbus


class Drift:
    """As SCAFFOLD: its linear term is the server's control variate minus the agent's own."""

    def __init__(self, rate=0.5):
        self.rate = rate

    def terms(self, start):
        variates = start.server["variate"]
        linear = {name: variates[name] - own for name, own in start.own.items()}
        return fedbus.LocalTerms(linear=linear)

    def after(self, start, update, steps):
        variates, own, sections = start.server["variate"], {}, {}
        for name, array in update.items():
            own[name] = start.own[name] - variates[name] - array / (steps * self.rate)
            sections[name] = own[name] - start.own[name]
        return fedbus.LocalEnd(own=own, sections={"variate": sections})


class Prox:
    def __init__(self, mu=1.0):
        if mu < 0:
            raise ValueError(f"mu is {mu}, expected at least 0")
        self.mu = mu

    def terms(self, start):
        return fedbus.LocalTerms(proximal=self.mu)


class Nothing:
    pass


class Wrong:
    """Returns what its parameter says."""

    def __init__(self, what):
        self.what = what

    def terms(self, start):
        name = next(iter(start.base))
        return {
            "type": 5,
            "foreign": fedbus.LocalTerms(linear={"nowhere": np.zeros(3)}),
            "shape": fedbus.LocalTerms(linear={name: np.zeros(3)}),
            "list": fedbus.LocalTerms(linear={name: [0.0]}),
            "inf": fedbus.LocalTerms(linear={name: np.full(start.base[name].shape, 1e300)}),
            "nan": fedbus.LocalTerms(proximal=float("nan")),
            "text": fedbus.LocalTerms(proximal="0.1"),
            "exit": fedbus.LocalTerms(),
        }.get(self.what, fedbus.LocalTerms())

    def after(self, start, update, steps):
        if self.what == "exit":
            raise SystemExit(3)
        zeros = {name: np.zeros(array.shape) for name, array in update.items()}
        name = next(iter(zeros))
        own = sections = zeros
        if self.what == "own lacks":
            own = {name: zeros[name]}
        elif self.what == "own nan":
            own = zeros | {name: zeros[name] + np.nan}
        elif self.what == "own list":
            own = [3]
        elif self.what == "section shape":
            sections = zeros | {name: np.zeros(3)}
        elif self.what == "complex":
            sections = zeros | {name: zeros[name] * 1j}
        elif self.what == "end":
            return None
        elif self.what == "no section":
            return fedbus.LocalEnd(own=own)
        elif self.what == "more":
            return fedbus.LocalEnd(own=own, sections={"variate": zeros, "unasked": zeros})
        return fedbus.LocalEnd(own=own, sections={"variate": sections})


class Empty:
    """Keeps nothing."""

    def terms(self, start):
        return fedbus.LocalTerms()

    def after(self, start, update, steps):
        return fedbus.LocalEnd()


class Scale:
    def __init__(self, by):
        self.by = by

    def transform_update(self, update, rng):
        return {name: array * array.dtype.type(self.by) for name, array in update.items()}


class Swap:
    """Returns views of its input: each tensor has the numbers of the next one of its shape."""

    def transform_update(self, update, rng):
        names = [name for name in update if update[name].shape == update["a"].shape]
        return dict(update) | {names[0]: update[names[1]], names[1]: update[names[0]]}


class Noise:
    def transform_update(self, update, rng):
        return {
            name: rng.normal(size=array.shape).astype(array.dtype)
            for name, array in update.items()
        }


class Spoil:
    def __init__(self, what):
        self.what = what

    def transform_update(self, update, rng):
        name, array = next(iter(update.items()))
        if self.what == "in place":
            array += 1
        return {
            "type": None,
            "lacks": {name: array},
            "foreign": dict(update) | {"nowhere": array},
            "dtype": dict(update) | {name: array.astype("float64")},
            "nan": dict(update) | {name: array * np.float32("nan")},
            "list": dict(update) | {name: [1.0]},
        }[self.what]


class AtCollector:
    """Has no half for agents."""

    def transform_combined(self, combined):
        return combined.update
'''


def install_strategies(install: Install) -> None:
    """Install the package `acme_strategy`."""
    install("acme_strategy", ENTRIES, SOURCE)
