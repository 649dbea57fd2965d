import json
import re
import subprocess
import sys
import warnings

import pytest
from PIL import Image

from ivm_data import cli
from ivm_data.worlds.world import write_world
from storage.errors import IvmWarning


@pytest.fixture
def ivm(monkeypatch, capfd):
    """Runs the command line in this process; returns exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ivm", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        out, err = capfd.readouterr()
        return exit_.value.code or 0, out, err

    return run


def test_help_lists_every_command_with_an_example(ivm):
    status, out, _ = ivm("--help")
    assert status == 0
    for command in ("label", "sql", "query", "report", "train", "mask", "calibrate", "world", "zoo"):
        assert command in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("query", "--data", "nowhere", "summary"), "no data folder at 'nowhere'"),
        (("label", "--manifest", "no.jsonl", "--out", "d"), "no.jsonl"),
        (("label", "--manifest", "no.jsonl", "--out", "d", "--recipe", "dmeo"), "choose one of card, demo"),
        (("label", "--manifest", "no.jsonl", "--out", "d", "--set", "gate.acept=1"), "choose from accept"),
        (("label", "--manifest", "no.jsonl", "--out", "d", "--set", "gate.accept"), "expected FIELD=VALUE"),
        (("zoo", "train", "vlm", "--out", "d"), "choose one of grounder, segmenter, lmm"),
        (("mask", "no.png", "the ring", "-o", "x.png", "--model", "m"), "no.png"),
        (("report", "--data", "nowhere", "-o", "r.html"), "nowhere"),
    ],
)
def test_a_users_mistake_is_one_clean_line_and_exit_status_2(ivm, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = ivm(*arguments)
    assert status == 2
    assert message in err
    assert "Traceback" not in err


def test_a_run_with_unusable_inputs_finishes_and_says_so_in_its_exit_status(ivm, tmp_path):
    manifest = write_world(tmp_path / "world", "val", scenes=2, pairs_per_scene=2, human_share=1)
    with manifest.open("a") as lines:
        lines.write('{"image": "images/gone.png", "instruction": "Find the red ring."}\n')
    data = tmp_path / "data"
    status, out, err = ivm("label", "--manifest", manifest, "--out", data)
    assert status == 3
    assert "1 inputs could not be used" in err
    # Again: nothing is labeled, and what is said of the manifest is the same.
    status, again, err = ivm("label", "--manifest", manifest, "--out", data)
    assert status == 3 and "1 inputs could not be used" in err
    known, summary = again.split("\n", 1)
    assert known == "5 of 5 pairs are labeled already."
    assert summary == out.replace(", 0 of them committed before", ", 1 of them committed before")
    # A line more costs a pair more, and labels that are asked for again count once.
    with manifest.open("a") as lines:
        lines.write('\n{"image": "images/gone.png", "instruction": "Find the green ring."}\n')
    status, grown, err = ivm("label", "--manifest", manifest, "--out", data)
    assert "5 of 6 pairs are labeled already." in grown and "2 inputs could not be used" in err
    status, again, err = ivm("label", "--manifest", manifest, "--out", data, "--again", "image_missing")
    assert "2 of 6 pairs are labeled again: image_missing." in again and "2 inputs could not be used" in err
    status, _, err = ivm("label", "--manifest", manifest, "--out", data, "--again", "STAGE:nowhere")
    assert status == 2 and "no stage 'nowhere'" in err
    status, out, _ = ivm(
        "sql", "--data", data, "--format", "json", "select reason from rejections where stage = 'ingest'"
    )
    assert (status, [json.loads(line) for line in out.splitlines()]) == (0, [{"reason": "image_missing"}] * 2)
    status, out, _ = ivm("query", "--data", data, "--format", "csv", "summary")
    assert out.splitlines()[0].startswith("recipe,inputs")
    Image.open(tmp_path / "world" / "images" / "000000.png").verify()


def test_another_recipe_is_told_before_it_starts_what_it_reads_and_asks_for_the_rest(ivm, tmp_path):
    manifest = write_world(tmp_path / "world", "val", scenes=2, pairs_per_scene=2, human_share=0.5)
    data, label = tmp_path / "data", ("label", "--manifest", manifest, "--out", tmp_path / "data")
    status, first, _ = ivm(*label)
    assert status == 0 and "beside recipe" not in first
    assert (data / "answers" / "answers.sqlite").is_file()
    status, changed, _ = ivm(*label, "--set", "verify.dim=0.9")
    assert status == 0 and "4 of the 4 pairs in the same parts" in " ".join(changed.split())
    assert re.search(r"segment +reads\n?.*0\.0", changed) and "other experts or settings" in changed
    assert re.search(r"At most \d+ of \d+ s, as earlier runs", changed)
    assert re.search(r"Of \d+ answers of experts \d+ were kept from earlier; 8 were asked for", changed)
    status, alone, _ = ivm(*label, "--set", "verify.dim=0.8", "--answers", "none")
    assert status == 0 and "No answers are kept." in alone and "were kept from earlier" not in alone
    status, _, err = ivm(*label, "--answers-gib", "0")
    assert status == 2 and "'gib' must be above 0" in err


def test_ivm_help_does_not_import_torch():
    lines = [
        "import sys; sys.argv = ['ivm', '--help']",
        "from ivm_data import cli",
        "try: cli.main()",
        "except SystemExit: assert 'torch' not in sys.modules",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_warning_of_the_engine_is_one_clean_line_and_those_of_others_stay_as_they_are(ivm, monkeypatch):
    def command():
        warnings.warn("labels came later", IvmWarning, stacklevel=1)
        warnings.warn("of another library", ResourceWarning, stacklevel=1)
        sys.exit(0)

    monkeypatch.setattr(cli, "app", command)
    with pytest.warns(ResourceWarning, match="of another library"):
        status, _, err = ivm("train")
    assert (status, err) == (0, "warning: labels came later\n")
