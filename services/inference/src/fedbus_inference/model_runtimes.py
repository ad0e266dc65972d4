"""Frameworks that can run models in this process, found without importing any, and loading."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final, TypeAlias

from fedbus import plugins
from fedbus.errors import LayoutError, PluginError, SettingsError
from fedbus.frameworks.installed import is_installed as is_installed_here
from fedbus.frameworks.onnx.trial import ONNX, admit_onnx
from fedbus.frameworks.tflite.admission import TFLITE, Admission
from fedbus.model.blob import check_update, decode
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Array, Layout
from fedbus.plugins import Predicts, RuntimeFactory, TrainerFactory
from fedbus.text import listed
from fedbus.training.options import FRAMEWORKS, LIGHTEST_FIRST
from fedbus.training.params import Architecture
from fedbus.wire.documents import ModelSpec
from fedbus_inference.loading import Runtime
from fedbus_inference.served_version import Predictor

Factory: TypeAlias = RuntimeFactory | TrainerFactory
AUTO: Final = "auto"
PREFERRED: Final = (LIGHTEST_FIRST[0], ONNX, *LIGHTEST_FIRST[1:])
"""The frameworks that `auto` chooses among, in the order of the memory that they take."""


def runtime_for(
    name: str,
    is_installed: Callable[[str], bool] = is_installed_here,
    allowed: Collection[str] | None = None,
    admission: Admission | None = None,
) -> Runtime:
    """Return a runtime for `auto`, or for the name of one runtime or trainer plug-in.

    `auto` chooses only among frameworks that fedbus ships, because settings, not a model spec,
    decide which third-party code may answer. A spec may name the model plug-ins `allowed`, as for
    `plugins.load`. Raise SettingsError if no framework, or no plug-in of that name, is installed.
    """
    loads = partial(load, allowed=allowed, admission=admission)
    if name == AUTO:
        names = tuple(name for name in PREFERRED if any(map(is_installed, _providers(name))))
        if not names:
            extras = listed({ONNX, *(framework.extra for framework in FRAMEWORKS.values())})
            raise SettingsError(
                "FEDBUS_RUNTIME='auto': no framework is installed here; "
                f"install fedbus-inference with one of the extras {extras}"
            )
        return Runtime(names, loads)
    here = {*plugins.installed_names("runtimes"), *plugins.installed_names("trainers")}
    if name not in here:
        known = listed([AUTO, *here])
        raise SettingsError(
            f"FEDBUS_RUNTIME={name!r}: expected an installed runtime or trainer plug-in: {known}"
        )
    return Runtime((name,), loads)


def _providers(framework: str) -> tuple[str, ...]:
    return ("onnxruntime",) if framework == ONNX else FRAMEWORKS[framework].providers


def _factory(framework: str) -> Factory:
    # A runtime is made for inference, so it comes before a trainer of the same name.
    if framework in plugins.installed_names("runtimes"):
        return plugins.load("runtimes", framework)
    return plugins.load("trainers", framework)


def load(  # noqa: PLR0913 - the parts of a version, and what may load them
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
    """Build a model and load its weights. Called in a thread, since it imports the framework.

    A `spare` model of the same spec is reused for the weights. A model file, `.tflite` or `.onnx`,
    is opened only if `admission` allows it.

    Raises:
        FedbusError: The framework cannot be imported or cannot predict, the model is a plug-in
            that is not allowed, its file is damaged, or the weights do not fit or are not finite.
    """
    layout = Layout.read(spec.layout, may_be_empty=True)
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
            raise PluginError(
                f"trainers plug-in {framework!r}: expected a `predict` method, got none"
            )
        trainer.load(arrays)
    return trainer


def _admitted(
    framework: str, architecture: Architecture, layout: Layout, admission: Admission
) -> AbstractContextManager[None]:
    file = architecture.get("blob")
    if not isinstance(file, bytes) or framework not in {TFLITE, ONNX}:
        return nullcontext()
    if framework == ONNX:
        return admission.using(admit_onnx(admission, file))
    return admission.using(admission.admit(file, layout))


def _check_finite(name: str, array: Array) -> None:
    try:
        check_update(array.reshape(-1))
    except LayoutError as error:
        raise LayoutError(f"the weights, tensor {name!r}: {error}") from error
