"""Versions that a key holder releases or encrypts with a new key, in a whole system."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from fedbus.client.derived_models import DerivedModel, released, rotated
from fedbus.client.repository import Push
from fedbus.client.results import PulledModel
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.readable_weights import readable_weights
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.simulation.host import RunningService
from fedbus.simulation.services import REPOSITORY
from fedbus.wire import codec
from fedbus.wire.blobs import ModelRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import ModelPushed
from fedbus_repository.stores.records import Version
from tests.ring.ring_cluster import RingCluster
from tests.ring.test_encrypted_rounds import HOMOMORPHIC, KEY, checked_records, content
from tests.sample_encryption import sample_key

HOLDER = "user.ana"
SAID = "ana at home"


def run_job(cluster: RingCluster, job: str, *, encrypted: bool = True) -> None:
    """Run a job of two rounds to its end."""
    more: dict[str, Any] = {"privacy-mechanisms": HOMOMORPHIC} if encrypted else {}
    cluster.submit(job, rounds=2, **more)
    state = cluster.run(job)
    assert (state.phase, state.round) == ("finished", 2), (state.reason, cluster.answers)


def refused(cluster: RingCluster, job: str, *, encrypted: bool) -> str:
    """Submit a job that is refused; return why."""
    more: dict[str, Any] = {"privacy-mechanisms": HOMOMORPHIC} if encrypted else {}
    before = len(cluster.answers)
    cluster.submit(job, rounds=2, again=False, **more)
    cluster.ring.run(lambda: len(cluster.answers) > before, 60.0)
    return str(cluster.answers[-1])


def newest(cluster: RingCluster) -> tuple[ModelRef, bytes, bytes, bytes]:
    """What a key holder pulls: the newest version, its spec, its ciphertexts and its anchor."""
    with cluster.store() as store:
        (version,) = store.latest()
        assert version.encryption is not None
        blobs = (version.spec, version.weights, version.encryption.anchor_weights)
        spec, weights, anchor = (content(store, blob.digest) for blob in blobs)
    cluster.ring.start(REPOSITORY)
    return ref_of(version), spec, weights, anchor


def ref_of(version: Version) -> ModelRef:
    """Name a version."""
    return ModelRef(
        model=version.model,
        version=version.version,
        weights=version.weights,
        spec=version.spec,
        source=REPOSITORY,
        encryption=version.encryption,
    )


def pushed(cluster: RingCluster, made: DerivedModel) -> ModelPushed:
    """Push a version from the key holder's node."""
    push = Push(REPOSITORY, made.push, ModelPushed, made.blobs)
    answers: list[object] = []
    push.finish = answers.append
    cluster.ring.add(HOLDER, lambda _: RunningService(push))
    cluster.ring.run(lambda: bool(answers), 120.0)
    cluster.ring.kill(HOLDER)
    (answer,) = answers
    assert isinstance(answer, ModelPushed), answer
    return answer


def release_newest(cluster: RingCluster) -> ModelPushed:
    """Decrypt the newest version and push it."""
    ref, spec, weights, anchor = newest(cluster)
    read = codec.from_json(ModelSpec, spec)
    layout = Layout.read(read.layout)
    assert ref.encryption is not None
    plain = decode(readable_weights(weights, anchor, ref.encryption, layout, KEY), layout)
    return pushed(cluster, released(PulledModel(ref, read, dict(plain)), SAID))


def test_a_released_version_is_the_next_anchor_and_plain_jobs_train_it(tmp_path: Path) -> None:
    """Plain jobs are refused before, with the command that a key holder runs."""
    with closing(RingCluster(tmp_path, encrypted=True)) as cluster:
        run_job(cluster, "job-1")
        said = refused(cluster, "job-x", encrypted=False)
        assert "`fedbus models release tiny --key FILE`" in said
        answer = release_newest(cluster)
        assert (answer.version.version, answer.version.encryption) == (4, None)
        run_job(cluster, "job-2")
        run_job_refused = refused(cluster, "job-y", encrypted=False)
        assert "version 6 of model 'tiny' is encrypted with the key" in run_job_refused
        records = checked_records(cluster)
        anchors = [one.encryption.anchor for one in records if one.encryption is not None]
        assert anchors == [1, 1, 4, 4]
        with cluster.store() as store:
            derived = [each.version.derived for each in store.history()][3]
        assert derived is not None
        assert derived.by == f"{SAID} ({HOLDER})"


def test_a_plain_job_continues_a_released_version(tmp_path: Path) -> None:
    """Its first base is what the key holder decrypted."""
    with closing(RingCluster(tmp_path, encrypted=True)) as cluster:
        run_job(cluster, "job-1")
        release_newest(cluster)
        run_job(cluster, "job-2", encrypted=False)
        with cluster.store() as store:
            versions = [each.version for each in store.history()]
        assert [each.encryption is None for each in versions] == [True, False, False, *[True] * 3]


def test_a_rotated_version_has_the_same_numbers_and_another_key(tmp_path: Path) -> None:
    """The system has the old key, so its next job is refused, with what to do."""
    with closing(RingCluster(tmp_path, encrypted=True)) as cluster:
        run_job(cluster, "job-1")
        ref, spec, weights, anchor = newest(cluster)
        new = SecretKey.generate(sample_key().parameters)
        answer = pushed(cluster, rotated(ref, spec, weights, (KEY, new), SAID))
        assert answer.version.encryption is not None
        assert answer.version.encryption.key == new.id
        said = refused(cluster, "job-2", encrypted=True)
        assert "fedbus keys rotate tiny --old-key FILE --new-key FILE" in said
        again, _, ciphertexts, same_anchor = newest(cluster)
        assert (again.version, same_anchor) == (4, anchor)
        assert ref.encryption is not None
        assert again.encryption is not None
        layout = Layout.read(codec.from_json(ModelSpec, spec).layout)
        before = decode(readable_weights(weights, anchor, ref.encryption, layout, KEY), layout)
        found = readable_weights(ciphertexts, anchor, again.encryption, layout, new)
        for name, expected in before.items():
            np.testing.assert_array_equal(decode(found, layout)[name], expected)
