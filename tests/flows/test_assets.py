"""The events of labels and checkpoints on the server."""

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.assets import asset, labels_asset
from flows.label import label
from flows.train import train

SMALL = {"generator.steps": 2, "generator.batch": 2, "rows.test_share": 0.9}


def materialized(key, settled):
    """The one materialization of an asset in the feed."""
    wanted = {"event": {"name": ["prefect.asset.materialization.succeeded"]}, "resource": {"id": [key]}}
    with get_client(sync_client=True) as client:
        body = {"filter": wanted, "limit": 50}
        events = settled(lambda: client._client.post("/events/filter", json=body).raise_for_status().json()["events"])
    (event,) = events
    return event


def upstream(event):
    return {each["prefect.resource.id"] for each in event["related"] if each["prefect.resource.role"] == "asset"}


def test_the_events_are_manifest_then_labels_then_checkpoint(prefect_server, manifest, tmp_path, settled):
    data = tmp_path / "my data"
    recipe = label(manifest, data, part_size=3)
    checkpoint = Path(train(data, weighting="uniform", overrides=SMALL))
    labels = labels_asset(data, recipe)
    event = materialized(labels.key, settled)
    assert upstream(event) == {asset(manifest).key}
    assert event["payload"]["parts"] == 2
    assert (event["payload"]["recipe"], event["payload"]["inputs"]) == ("demo", 6)
    event = materialized(asset(checkpoint).key, settled)
    assert upstream(event) == {labels.key}
    assert event["payload"]["weighting"] == "uniform"
    assert event["payload"]["giou"] >= 0


@pytest.mark.parametrize(
    "name", ["plain", "with space", "50% [a]#?&", "Größe", "x" * 200 + "/" + "y" * 200 + "/" + "z" * 200]
)
def test_every_path_has_a_key_of_its_own(name):
    path = Path("/data") / name
    key = asset(path).key
    assert key.startswith("file:///data/")
    assert key == asset(path).key
    assert key != asset(path.with_name(path.name + "!")).key != asset(path.with_name(path.name + "?")).key


def test_a_plain_path_can_be_read_in_its_key():
    assert labels_asset(Path("/runs/data"), "6e878774389b").key == "file:///runs/data/labels/6e878774389b"
