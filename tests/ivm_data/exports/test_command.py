import json

import pytest
from typer.testing import CliRunner

from ivm_data.cli.app import app
from ivm_data.exports import formats as registry
from storage.errors import ConfigError


def run(*arguments):
    done = CliRunner().invoke(app, ["export", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_without_a_format_all_are_listed():
    listed = run()
    assert all(name in listed for name in registry.names())


def test_any_status_exports_every_label_and_counts_them(data, tmp_path):
    said = run("webdataset", "--data", data, "--out", tmp_path / "out", "--status", "any", "--set", "samples=2")
    assert said.strip().endswith(": 6 labels, 2 without a target, 4 images, 0 left out")
    assert len(list((tmp_path / "out").glob("*.tar"))) == 4


def test_conditions_and_options_reach_the_writer(data, tmp_path):
    options = ("--status", "accepted", "--where", "has_human", "--human", "--set", "masks=polygons")
    run("coco", "--data", data, "--out", tmp_path / "out", *options)
    (row,) = json.loads((tmp_path / "out" / "instances.json").read_text())["annotations"]
    assert row["mask_by"] == "human"
    assert isinstance(row["segmentation"], list)


def test_a_format_without_folders_tells_its_options():
    with pytest.raises(ConfigError, match="--set coco may have masks=rle"):
        run("coco")
