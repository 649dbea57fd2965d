"""The label flow over actors of Ray, on a real Ray on loopback and a real server."""

import hashlib
import json

import pytest

from flows.label import label
from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.catalog import Catalog

RAY = {"local_cpus": 2, "store_mib": 300}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ray_under_the_flow_leaves_the_files_of_the_plain_loop(prefect_server, tmp_path):
    manifest = write_world(tmp_path / "world", "val", scenes=4, pairs_per_scene=2, human_share=0.5)
    label_manifest(prepare(manifest, tmp_path / "plain", recipe("demo"), part_size=4))
    state = label(manifest, tmp_path / "ray", part_size=4, engine="ray", ray=RAY, return_state=True)
    assert state.is_completed(), state.message
    assert digests(tmp_path / "ray") == digests(tmp_path / "plain")
    changes = {"verify.dim": 0.9}
    label_manifest(prepare(manifest, tmp_path / "plain", recipe("demo", changes), part_size=4))
    state = label(
        manifest, tmp_path / "ray", part_size=4, engine="ray", ray=RAY, overrides=changes, return_state=True
    )  # fmt: skip
    assert state.is_completed(), state.message
    assert digests(tmp_path / "ray") == digests(tmp_path / "plain")
    assert stages_that_asked(tmp_path / "ray", state.result()) == {"verify"}
    edited(manifest)
    label_manifest(prepare(manifest, tmp_path / "plain", recipe("demo"), part_size=4))
    state = label(manifest, tmp_path / "ray", part_size=4, engine="ray", ray=RAY, return_state=True)
    assert state.is_completed(), state.message
    assert digests(tmp_path / "ray") == digests(tmp_path / "plain")
    bad = "count(*) FILTER (reason = 'conflicting_targets')"
    query = f"SELECT count(*) AS n, {bad} AS bad FROM outcomes WHERE recipe = $recipe"
    with Catalog(tmp_path / "ray") as catalog:
        assert catalog.sql(query, recipe=state.result()).to_pylist() == [{"n": 8 - 1 + 2 + 1, "bad": 2}]
    refused = label(manifest, tmp_path / "none", engine="ray", ray=RAY | {"segment.gpus": 0.5}, return_state=True)
    assert refused.is_failed()
    assert "the actors want 0.5 GPUs in all and the cluster has 0" in refused.message


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_devices_under_the_flow_leave_the_files_of_the_plain_loop(prefect_server, tmp_path):
    manifest = write_world(tmp_path / "world", "val", scenes=3, pairs_per_scene=2, human_share=0.5)
    label_manifest(prepare(manifest, tmp_path / "plain", recipe("demo"), part_size=2))
    state = label(manifest, tmp_path / "both", part_size=2, devices="cpu,cpu", return_state=True)
    assert state.is_completed(), state.message
    assert digests(tmp_path / "both") == digests(tmp_path / "plain")
    state = label(manifest, tmp_path / "ray", part_size=2, engine="ray", ray=RAY, devices="cpu,cpu", return_state=True)
    assert state.is_completed(), state.message
    assert digests(tmp_path / "ray") == digests(tmp_path / "plain")


def edited(manifest):
    """The first pair goes and comes back in other words; a labeled pair gets a second record that contradicts it."""
    first, *others = map(json.loads, manifest.read_text().splitlines())
    truth = next(line for line in others if line.get("targets"))
    lines = [*others, {**first, "instruction": "Find the ring, please."}, {**truth, "targets": []}]
    manifest.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def digests(data):
    """Of every label file."""
    files = (data / "labels").rglob("*.parquet")
    return {f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def stages_that_asked(data, recipe_hash):
    """Stages in which an expert was asked what was not known."""
    with Catalog(data) as catalog:
        asked = "SELECT DISTINCT stage FROM timings WHERE recipe = $recipe AND answers_asked > 0"
        return {row["stage"] for row in catalog.sql(asked, recipe=recipe_hash).to_pylist()}
