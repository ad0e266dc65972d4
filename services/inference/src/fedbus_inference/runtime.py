"""Which frameworks can run models here, found without importing any; and how they load one."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final, TypeAlias

from fedbus import plugins
from fedbus.errors import LayoutError, PluginError, SettingsError
from fedbus.frameworks.installed import is_installed as is_installed_here
from fedbus.frameworks.tflite.admission import TFLITE, Admission
from fedbus.model.blob import Blob, check_update, decode
from fedbus.model.layout import Array, Layout
from fedbus.plugins import Predicts, RuntimeFactory, TrainerFactory
from fedbus.text import listed
from fedbus.training.options import FRAMEWORKS, LIGHTEST_FIRST
from fedbus.training.params import Architecture
from fedbus.wire.documents import ModelSpec
from fedbus_inference.loading import Runtime
from fedbus_inference.prediction import Predictor

Factory: TypeAlias = RuntimeFactory | TrainerFactory
AUTO: Final = "auto"


def runtime_for(
    wanted: str,
    is_installed: Callable[[str], bool] = is_installed_here,
    allowed: Collection[str] | None = None,
    admission: Admission | None = None,
) -> Runtime:
    """Choose frameworks: `auto`, or the name of one runtime or trainer plug-in.

    `auto` takes only what we ship: which code of others may answer is for the settings to say, not
    for a model's spec. Of model plug-ins a spec may name those that are `allowed`, as for
    `plugins.load`. `admission` decides which `.tflite` files are opened here.

    Raises:
        SettingsError: there is nothing here to run a model with, or nothing of that name.
    """
    if wanted == AUTO:
        names = tuple(
            name for name in LIGHTEST_FIRST if any(map(is_installed, FRAMEWORKS[name].providers))
        )
        if not names:
            extras = listed({framework.extra for framework in FRAMEWORKS.values()})
            raise SettingsError(
                "FEDBUS_RUNTIME='auto': no framework is installed here; "
                f"install fedbus-inference with one of the extras {extras}"
            )
        return Runtime(names, partial(load, allowed=allowed, admission=admission))
    here = {*plugins.installed_names("runtimes"), *plugins.installed_names("trainers")}
    if wanted not in here:
        known = listed([AUTO, *here])
        raise SettingsError(
            f"FEDBUS_RUNTIME={wanted!r}: no such runtime or trainer plug-in; there is {known}"
        )
    return Runtime((wanted,), partial(load, allowed=allowed, admission=admission))


def _factory(framework: str) -> Factory:
    if framework in plugins.installed_names(
        "runtimes"
    ):  # made for it, so before a trainer of that name
        return plugins.load("runtimes", framework)
    return plugins.load("trainers", framework)


def load(  # noqa: PLR0913 - what a version is made of, and what may make it
    framework: str,
    spec: ModelSpec,
    architecture: Architecture,
    weights: Blob,
    spare: Predictor | None = None,
    *,
    factory: Callable[[str], Factory] = _factory,
    allowed: Collection[str] | None = None,
    admission: Admission | None = None,
) -> Predictor:
    """Rebuild a model and give it its weights; this imports the framework, so call it in a thread.

    A `spare` model of the same spec takes them instead. A `.tflite` file is opened if `admission`
    lets it pass.

    Raises:
        FedbusError: the framework does not load or cannot predict, the model is a plug-in that is
            not allowed here, its file is damaged, or the weights do not fit or are no numbers.
    """
    layout = Layout.read(spec.layout)
    arrays = decode(weights, layout, "plain")
    for name, array in arrays.items():
        _check_finite(name, array)
    if isinstance(spare, Predicts):
        spare.load(arrays)
        return spare
    plugins.check_model(framework, architecture, allowed)
    with _admitted(framework, architecture, layout, admission or Admission()):
        trainer = factory(framework)(architecture)
        if not isinstance(trainer, Predicts):
            raise PluginError(f"trainers plug-in {framework!r} can train, and not predict")
        trainer.load(arrays)
    return trainer


def _admitted(
    framework: str, architecture: Architecture, layout: Layout, admission: Admission
) -> AbstractContextManager[None]:
    file = architecture.get("blob")
    if framework != TFLITE or not isinstance(file, bytes):
        return nullcontext()
    return admission.using(admission.admit(file, layout))


def _check_finite(name: str, array: Array) -> None:
    try:
        check_update(array.reshape(-1))
    except LayoutError as error:
        raise LayoutError(f"the weights, tensor {name!r}: {error}") from error
