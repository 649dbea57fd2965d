import json
import sys

import pytest

from ivm_data import cli


@pytest.fixture
def ivm(monkeypatch, capfd):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ivm", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        out, err = capfd.readouterr()
        return exit_.value.code or 0, out, err

    return run


def test_without_a_name_the_sources_are_listed_with_the_files_that_they_read(ivm):
    status, out, _ = ivm("import")
    assert status == 0
    (line,) = [line for line in out.splitlines() if line.startswith("refcoco ")]
    assert "refs(unc|google|umd).p, instances.json" in line and "each sentence is an instruction" in line


def test_a_source_becomes_a_manifest_and_bad_records_show_in_the_exit_status(ivm, tmp_path):
    row = {"image": "1.jpg", "caption": "The cat is on the mat.", "label": 1, "relation": "on"}
    captions, out = tmp_path / "train.jsonl", tmp_path / "vsr.jsonl"
    captions.write_text(json.dumps(row) + "\n")
    assert ivm("import", "vsr", "--set", f"captions={captions}", "--out", out)[0] == 0
    captions.write_text(json.dumps(row) + "\n{}\n")
    out.unlink()
    status, said, warned = ivm(
        "import", "vsr", "--set", f"captions={captions}", "--set", "images=vsr/images", "--source", "mine", "--out", out
    )
    assert status == 3
    assert "1 pairs, 0 of them labeled" in said.replace("\n", "")
    assert "1 records could not be used" in warned
    pair, bad = map(json.loads, out.read_text().splitlines())
    assert (pair["image"], pair["source"]) == ("vsr/images/1.jpg", "mine")
    assert bad == {"error": "train.jsonl: line 2: 'label' is missing", "source": "mine"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "coca", "--out", "m.jsonl"), "unknown source 'coca'; choose one of coco"),
        (
            ("import", "coco"),
            "give --out MANIFEST.jsonl, and with --set what coco needs (instances) or may have (images=",
        ),
        (("import", "coca"), "unknown source"),
        (("import", "coco", "--out", "m.jsonl"), "needs option 'instances'"),
        (("import", "coco", "--out", "m.jsonl", "--set", "instances=gone.json"), "'gone.json' is not there"),
    ],
)
def test_a_users_mistake_is_one_clean_line_and_leaves_no_manifest(ivm, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = ivm(*arguments)
    assert status == 2
    assert message in err and "Traceback" not in err
    assert not (tmp_path / "m.jsonl").exists()
