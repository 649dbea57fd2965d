import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ivm_data.cli.app import app
from ivm_data.outputs import check
from ivm_data.quality import regate
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError, WeightsError
from storage.parts.shards import commit_part
from storage.tables.recipes import write_recipe

BUILDERS = Path(__file__).parents[2] / "storage" / "builders.py"


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("storage_builders", BUILDERS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path, build):
    commit_part(tmp_path / "data", build.make_part(rows=40))
    write_recipe(tmp_path / "data", build.RECIPE, {"gate": {"accept": 0.7, "reject": 0.3}})
    return tmp_path / "data"


def counts(data):
    with Catalog(data) as catalog:
        return dict(catalog.sql("SELECT status, count(*) FROM labels GROUP BY ALL").to_pandas().to_numpy().tolist())


def test_what_is_left_out_stays_as_the_recipe_or_the_current_gate_has_it(data):
    with DataSet.open(data) as opened:
        gate = regate.changed(regate.current(opened), {"accept": "0.9"})
    assert (gate.config.accept, gate.config.reject, gate.quality) == (0.9, 0.3, "written")
    regate.apply(data, gate, who="ada")
    with DataSet.open(data) as opened:
        again = regate.changed(regate.current(opened), {"reject": 0.1}, "zoo:calibration.json")
    assert (again.config.accept, again.config.reject) == (0.9, 0.1)
    assert again.quality != "written"


def test_a_preview_counts_what_applying_it_then_gives_and_writes_nothing(data):
    before = counts(data)
    with DataSet.open(data) as opened:
        seen = regate.preview(opened, regate.changed(regate.current(opened), {"min_understood": 0}), limit=3)
    assert counts(data) == before and not (data / "gates").exists()
    total = seen.by_source.to_pylist()[-1]
    assert {name: total[name] for name in before} == before
    regate.apply(data, seen.gate, who="ada")
    after = counts(data)
    assert {name: total[f"{name}_after"] for name in after} == after
    moved = sum(row["labels"] for row in seen.sides.to_pylist())
    assert moved and seen.changed.num_rows == min(3, moved)
    assert sum(row["accepted_after"] for row in seen.by_kind.to_pylist()[:-1]) == total["accepted_after"]


def test_what_cannot_be_a_gate_is_refused_and_nothing_changes(data, tmp_path):
    with DataSet.open(data) as opened:
        gate = regate.current(opened)
    for wrong in ({"accept": 0.1}, {"accept": "nan"}, {"accept": 1.5}, {"sharpness": 1}):
        with pytest.raises(ConfigError):
            regate.changed(gate, wrong)
    (tmp_path / "c.json").write_text(
        '{"mask": {"features": ["sharpness"]}, "absent": {}, "proposers": {}, "rows": [1, 1]}'
    )
    with pytest.raises(WeightsError, match="ivm calibrate"):
        regate.changed(gate, {}, str(tmp_path / "c.json"))
    with pytest.raises(ConfigError, match="no calibration at"):
        regate.changed(gate, {}, "nowhere.json")
    assert not (data / "gates").exists()


def test_the_command_previews_applies_lists_and_undoes(data):
    def run(*words):
        result = CliRunner().invoke(app, ["gate", "--data", str(data), *words], catch_exceptions=False)
        return result.output

    before = counts(data)
    loose = ("--accept", "0.5", "--set", "min_understood=0")
    assert "what changes sides" in run(*loose) and counts(data) == before
    assert "gate loose is current" in run(*loose, "--name", "loose", "--apply", "--who", "ada")
    after = counts(data)
    assert after != before
    assert "loose" in run() and "accept 0.5" in run()
    query = ["sql", "--data", str(data), "SELECT status, count(*) AS n FROM labels GROUP BY ALL", "--format", "json"]
    for gate, expected in (("written", before), ("loose", after)):
        lines = CliRunner().invoke(app, [*query, "--gate", gate], catch_exceptions=False).output.splitlines()
        assert {row["status"]: row["n"] for row in map(json.loads, lines)} == expected
    sheet = data.parent / "changes.png"
    assert sheet.name in run("--accept", "1", "--sheet", str(sheet)).replace("\n", "")
    check("gate", sheet)
    assert "written again" in run("--undo")
    assert counts(data) == before
    assert "gate loose is current" in run("--name", "loose", "--apply")
    assert counts(data) == after


def test_labels_that_come_after_a_gate_are_decided_by_it_too(data, build):
    with DataSet.open(data) as opened:
        nothing = regate.changed(regate.current(opened), {"accept": 1.0})
    regate.apply(data, nothing, who="ada")
    commit_part(data, build.make_part("part-9", 40, seed=100))
    query = "SELECT DISTINCT status FROM labels WHERE part = 'part-9' AND quality < 1"
    said = {}
    for gate in (None, "written"):
        with Catalog(data, gate=gate) as catalog:
            said[gate] = {row["status"] for row in catalog.sql(query).to_pylist()}
    assert said["written"] & {"accepted", "no_target"} and not said[None] & {"accepted", "no_target"}


def test_a_recipe_that_differs_in_its_gate_alone_is_found(data, build):
    config = {"gate": {"accept": 0.9}, "calibration": "c", "experts": [{"role": "verifier", "name": "v@1"}]}
    write_recipe(data, "aaaaaa", config)
    assert regate.same_evidence(data, "aaaaaa") == ""
    commit_part(data, build.make_part("part-9", 4, "bbbbbb"))
    calibrated = [*config["experts"], {"role": "calibration", "name": "c@2"}]
    write_recipe(data, "bbbbbb", config | {"gate": {"accept": 0.5}, "experts": calibrated})
    assert regate.same_evidence(data, "aaaaaa") == "bbbbbb"
    write_recipe(data, "cccccc", config | {"experts": [{"role": "verifier", "name": "v@2"}]})
    assert regate.same_evidence(data, "cccccc") == ""
