"""Data set of the features of many agents, for the training of the layers after the cut. Pure."""

from collections.abc import Iterator, Mapping
from itertools import chain, zip_longest

from fedbus.data import Batch, Dataset
from fedbus.errors import TrainingError
from fedbus.model.blob_header import Blob
from fedbus.privacy.feature_blob import SentFeatures, decode_features
from fedbus.privacy.unary_randomized_response import estimated_bits
from fedbus.wire.features import FeatureTerms

ROWS_AT_ONCE = 32
"""Examples of one agent before those of the next: each shuffled part has examples of all agents."""


def feature_data(blobs: Mapping[str, Blob], terms: FeatureTerms) -> tuple[Dataset, list[str]]:
    """Return the examples of all agents, and sentences about agents whose blob cannot be used.

    Features are unbiased estimates of the bits, in the shape that the layer after the cut takes.

    Raises:
        TrainingError: No agent's blob can be used.
    """
    found: dict[str, SentFeatures] = {}
    left_out = []
    for agent, blob in sorted(blobs.items()):
        try:
            sent = _checked(decode_features(blob), terms, next(iter(found.values()), None))
        except TrainingError as error:
            left_out.append(f"{agent}: {error}")
        else:
            found[agent] = sent
    if not found:
        raise TrainingError(f"no agent's features can be used: {'; '.join(left_out)}")
    agents = tuple(found.values())
    rows = sum(sent.header.examples for sent in agents)
    return Dataset(rows, lambda: _in_turns(agents)), left_out


def _checked(sent: SentFeatures, terms: FeatureTerms, first: SentFeatures | None) -> SentFeatures:
    """Compare a blob with what the job states, and with that of the first agent."""
    header = sent.header
    stated = (header.cut_layer, header.epsilon, header.features)
    if stated != (terms.cut_layer, terms.epsilon, terms.features):
        raise TrainingError(
            f"{header.features} features of cut_layer {header.cut_layer} and epsilon "
            f"{header.epsilon:g}; the job has {terms.features} of cut_layer {terms.cut_layer} and "
            f"epsilon {terms.epsilon:g}"
        )
    if first is not None:
        form = (header.shape, header.label_shape, header.label_dtype)
        wanted = (first.header.shape, first.header.label_shape, first.header.label_dtype)
        if form != wanted:
            raise TrainingError(f"features and labels {form}, where other agents have {wanted}")
    if sent.labels.dtype.kind == "f" and not _finite(sent):
        raise TrainingError("labels that are not finite")
    return sent


def _finite(sent: SentFeatures) -> bool:
    return bool((abs(sent.labels) < float("inf")).all())


def _in_turns(agents: tuple[SentFeatures, ...]) -> Iterator[Batch]:
    turns = zip_longest(*(_batches(sent) for sent in agents))
    return (batch for batch in chain.from_iterable(turns) if batch is not None)


def _batches(sent: SentFeatures) -> Iterator[Batch]:
    header = sent.header
    for start in range(0, header.examples, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        x = estimated_bits(sent.packed[rows], header.features, header.epsilon)
        y = sent.labels[rows].astype(header.label_dtype)
        yield x.reshape(len(x), *header.shape), y
