"""A run with an object store: every part goes there, and what is there is not labeled again."""

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from ivm_data.engine.labeling import label_manifest, label_part
from ivm_data.engine.labeling_run import prepare
from ivm_data.engine.outcomes import ManifestCounts, manifest_counts
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.errors import ConfigError
from storage.upkeep.digest import content_hash
from storage.upkeep.remote import committed, pull


@pytest.fixture
def url(monkeypatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # A file system that an earlier test made knows that test's endpoint.
    S3FileSystem.clear_instance_cache()
    boto3.client("s3").create_bucket(Bucket="labels")
    yield "s3://labels/data"
    server.stop()


@pytest.mark.slow
def test_two_machines_with_folders_of_their_own_label_each_part_once(url, tmp_path):
    manifest = write_world(tmp_path / "world", "val", scenes=2, pairs_per_scene=2, human_share=0.5)
    alone = prepare(manifest, tmp_path / "alone", recipe("demo"), part_size=2)
    label_part(alone, alone.parts[0])

    first = prepare(manifest, tmp_path / "alone", recipe("demo"), part_size=2, remote=url)
    assert committed(url, first.recipe_hash) == {first.parts[0].name}
    second = prepare(manifest, tmp_path / "second", recipe("demo"), part_size=2, remote=url)
    assert [summary.fresh for summary in label_manifest(second)] == [False, True]
    third = prepare(manifest, tmp_path / "third", recipe("demo"), part_size=2, remote=url)
    assert third.open_parts() == []
    assert manifest_counts(third) == ManifestCounts(elsewhere=4)
    assert (manifest_counts(second).elsewhere, manifest_counts(second).statuses.total()) == (2, 2)

    label_manifest(alone)
    pull(url, tmp_path / "back")
    assert content_hash(tmp_path / "back") == content_hash(alone.data)


def test_an_edited_manifest_is_labeled_on_another_machine_once_its_pairs_are_pulled(url, tmp_path, labelers, photos):
    url = url.replace("data", "edited")
    first, second = (labelers.Labeler(tmp_path / name, remote=url) for name in ("first", "second"))
    records = labelers.lines(*((image, 0) for image in range(5)))
    first.label(labelers.write_manifest(photos, records), 2)
    grown = labelers.write_manifest(photos, [*labelers.lines((6, 0)), *records])
    for again in ((), ("ok",)):
        with pytest.raises(
            ConfigError, match=r"5 records .* labeled in parts of 's3://labels/edited'.*'ivm pull s3://labels/edited"
        ):
            second.prepare(grown, 2, again)
    # Another manifest is none of that machine's business.
    assert second.label(labelers.write_manifest(photos, labelers.lines((7, 0)), "other.jsonl"), 2) == 1
    pull(url, second.data)
    assert second.label(grown, 2) == 1
    assert len(labelers.counted(second.data)) == 7
    pull(url, first.data)
    assert first.label(grown, 2) == 0
