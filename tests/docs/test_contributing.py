"""The walk-throughs of CONTRIBUTING.md, as an installed package: code and entry points are the page's blocks."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.experts import registry
from ivm_data.exports import formats
from ivm_data.exports.run import Selection, export
from ivm_data.quality import cleaning
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.sources.foreign import readers
from ivm_data.sources.foreign.common.foreign_reader import ForeignPair
from ivm_data.worlds.world import write_world
from ivm_model.weighting.weightings import Signals, get_weighting
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.sql.queries import parse

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S))
MODULES = {
    "colour_boxes": "Add an expert",
    "tsv": "Add a source",
    "csv_table": "Add an export",
    "tiny": "Add a cleaning rule",
    "squared_quality": "Add a weighting",
}


def block(section, language):
    return re.search(rf"^```{language}\n(.*?)^```$", SECTIONS[section], re.M | re.S)[1]


def install(folder, name, version, modules, entry_points):
    """A package as pip leaves it: modules beside the metadata."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = (f"[{group}]\n" + "\n".join(f"{key} = {at}" for key, at in names.items()) for group, names in entry_points)
    (metadata / "entry_points.txt").write_text("\n\n".join(groups) + "\n")
    for path, text in modules.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.fixture
def my_package(tmp_path, monkeypatch):
    modules = {f"my_package/{name}.py": block(section, "python") for name, section in MODULES.items()}
    project = tomllib.loads(block("From a package of your own", "toml"))["project"]
    install(tmp_path / "site", project["name"], project["version"], modules, project["entry-points"].items())
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), "val", scenes=3, pairs_per_scene=2, human_share=0.0)


@pytest.fixture(scope="module")
def data(world, tmp_path_factory):
    """Labels of the demo recipe without its second proposer."""
    run = prepare(world, tmp_path_factory.mktemp("data"), recipe("demo", {"proposers": "[]"}), part_size=6)
    label_manifest(run)
    return run.data


def test_an_expert_of_another_package_labels_images_by_its_name_in_a_recipe(my_package, world, tmp_path):
    command = block("Add an expert", "console")
    change = re.search(r"--set '(grounders=.+)'", command)[1].partition("=")
    chosen = recipe("demo", {change[0]: change[2], "proposers": "[]", "resolve.absent_below": "0"})
    assert chosen.grounders == (registry.ExpertSpec("colour-boxes", {"distance": 60}),)
    run = prepare(world, tmp_path / "data", chosen, part_size=6)
    assert sum(summary.rows for summary in label_manifest(run)) == 6
    with DataSet.open(run.data) as data:
        labels = list(data.labels())
    found = [one for label in labels for one in label.candidates if one.expert == "colour-boxes@1"]
    assert found and ("grounder", "colour-boxes@1") in labels[0].lineage.experts
    assert all({"red", "green", "blue"} & set(one.phrase.split()) for one in found)
    assert any(label.proposals[0].expert.startswith("colour-boxes@1+segmenter@") for label in labels if label.proposals)


def test_a_value_that_such_an_expert_does_not_take_is_refused_before_work(my_package):
    with pytest.raises(registry.ConfigError, match=r"expert 'colour-boxes'.distance must be at least 0, got -1"):
        registry.create(registry.ExpertSpec("colour-boxes", {"distance": "-1"}))


def test_a_source_of_another_package_is_listed_and_read(my_package, tmp_path):
    pairs = tmp_path / "pairs.tsv"
    pairs.write_bytes(b"a.jpg\tfind the cup\nno tab here\n")
    found = list(readers.read("tsv", {"pairs": str(pairs), "images": "photos"}))
    assert found[0] == ForeignPair("photos/a.jpg", "find the cup") and found[1].where == "pairs.tsv: line 2"
    assert readers.describe("tsv").reads == "pairs.tsv" and "tsv" in readers.names()


def test_an_export_of_another_package_is_listed_and_written(my_package, data, tmp_path):
    counts = export("csv", data, tmp_path / "table", Selection(("accepted", "review", "rejected")), {"separator": ";"})
    lines = (tmp_path / "table" / "labels.csv").read_text().splitlines()
    assert lines[0] == "sample_id;instruction;area" and len(lines) == counts.labels + counts.no_target + 1 > 1
    assert formats.describe("csv").loses == "images, masks, scores"


def test_a_cleaning_rule_of_another_package_is_previewed_applied_and_undone(my_package, data):
    assert [one.rule.name for one in cleaning.overview(data)][-1] == "tiny"
    found = cleaning.preview(data, "tiny", {"pixels": "1000000"})
    assert found.found and found.found[0].reason.startswith("covers ")
    assert cleaning.apply(data, found, who="test") == len(found.found) == cleaning.undo(data, "tiny", who="test")


def test_a_weighting_of_another_package_weighs_labels(my_package):
    weighting = get_weighting("squared_quality")
    assert weighting(Signals(2, quality_N=np.array([0.5, 1.0]))).tolist() == [0.25, 1.0]


def test_a_named_query_is_a_file_with_a_header(data):
    query = parse("long_instructions", block("Add a named query", "sql"))
    assert query.description == "Labels whose instruction is long."
    with Catalog(data) as catalog:
        assert catalog.sql(query.sql, **query.bind({"words": 1})).num_rows == catalog.sql("FROM labels").num_rows > 0


def test_the_files_that_the_page_names_are_there_but_for_those_that_it_adds():
    added = {"colour_boxes.py", "tsv.py", "csv_table.py", "long_instructions.sql"}
    named = set(re.findall(r"`([\w/]+\.(?:py|sql))`", PAGE.read_text())) - {"storage/sql/queries/NAME.sql"}
    assert {Path(path).name for path in named if not (PAGE.parent / path).exists()} == added


BROKEN = {
    "ivm.experts": {
        "no-module": "gone:Expert",
        "no-class": "half:Expert",
        "raises": "raises:Expert",
        "no-config": "half:odd",
    },
    "ivm.sources": {"raises": "raises:read"},
    "ivm.exports": {"raises": "raises:write", "no-options": "half:odd"},
    "ivm.rules": {"raises": "raises:RULE", "odd": "half:odd"},
    "ivm.weightings": {"raises": "raises:weighting"},
}


@pytest.fixture
def broken_package(tmp_path, monkeypatch):
    modules = {"half.py": "def odd(one):\n    return one\n", "raises.py": "raise SystemExit('not today')\n"}
    install(tmp_path / "broken", "broken-package", "0.1", modules, BROKEN.items())
    (tmp_path / "broken" / "torn-1.dist-info").mkdir()
    (tmp_path / "broken" / "torn-1.dist-info" / "entry_points.txt").write_bytes(b"[ivm.experts\n\xff")
    monkeypatch.syspath_prepend(tmp_path / "broken")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: registry.create(registry.ExpertSpec("no-module")), "expert 'no-module' .*No module named 'gone'"),
        (lambda: registry.create(registry.ExpertSpec("no-class")), "expert 'no-class' .*no attribute 'Expert'"),
        (lambda: registry.create(registry.ExpertSpec("raises")), "expert 'raises' .*SystemExit: not today"),
        (lambda: registry.create(registry.ExpertSpec("no-config")), "expert 'no-config' .*no 'config' annotated"),
        (lambda: readers.read("raises", {}), "source 'raises' .*SystemExit"),
        (lambda: formats.writer("raises", {}), "format 'raises' .*SystemExit"),
        (lambda: formats.writer("no-options", {}), "format 'no-options' .*'options' has no annotation"),
        (lambda: cleaning.rule("raises"), "rule 'raises' .*SystemExit"),
        (lambda: cleaning.rule("odd"), "rule 'odd' .*it is no Rule of that name"),
        (lambda: get_weighting("raises"), "weighting 'raises' .*SystemExit"),
    ],
)
def test_a_broken_package_is_named_where_it_is_asked_for(broken_package, ask, message):
    with pytest.raises(registry.ConfigError, match=message) as caught:
        ask()
    assert "of package 'broken-package' cannot be used" in str(caught.value)


def test_a_broken_package_harms_nobody_who_does_not_ask_for_it(broken_package, my_package, data):
    assert registry.create(registry.ExpertSpec("colour-boxes")).name == "colour-boxes@1"
    assert {"coco", "raises", "no-options"} <= {known.name for known in formats.describe_all()}
    assert any("SystemExit" in known.makes for known in readers.describe_all())
    with pytest.warns(match="rule 'raises' of package 'broken-package' cannot be used"):
        assert cleaning.overview(data)[-1].rule.name == "tiny"


def test_a_built_in_name_is_not_taken_over_and_a_name_of_two_packages_is_refused(my_package, tmp_path, monkeypatch):
    offers = {"ivm.experts": {"sam": "other:Expert", "colour-boxes": "other:Expert"}}
    install(tmp_path / "other", "other-package", "1.0", {"other.py": "class Expert: ..."}, offers.items())
    monkeypatch.syspath_prepend(tmp_path / "other")
    assert registry.EXPERTS.get("sam").__module__ == "ivm_data.experts.segmenters.sam"
    with pytest.raises(registry.ConfigError, match="offered by my-package and other-package; uninstall all but one"):
        registry.create(registry.ExpertSpec("colour-boxes"))


def test_an_unknown_name_is_refused_with_those_of_other_packages_among_the_choices(my_package):
    with pytest.raises(registry.ConfigError, match=r"unknown expert 'colour-bxs'; choose one of .*colour-boxes"):
        registry.ExpertSpec("colour-bxs")
    with pytest.raises(registry.ConfigError, match=r"no rule 'teeny'; the rules are: .*tiny"):
        cleaning.rule("teeny")
