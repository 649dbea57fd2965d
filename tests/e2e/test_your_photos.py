"""docs/your-photos.md, command by command: embedded experts and drawn scenes in place of weights and photographs.

True masks stand in for the person who reviews.
"""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from ivm_data import cli
from ivm_data.sources.manifest import plan, read_part
from ivm_data.worlds.world import write_world
from storage.data_set import DataSet
from storage.pixels import rle
from storage.tables import reviews

PAGE = Path(__file__).parents[2] / "docs" / "your-photos.md"
SCENES = 30
STANDS_IN = {"--recipe small": "--recipe demo", ".jpg": ".png", "the blue mug on the shelf": "the red ring"}
SERVES = "ivm review --data trial --reviewer anna"


def commands():
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """`photos` and `asked.txt`, a line for each picture; returns the true mask by picture."""
    monkeypatch.chdir(tmp_path)
    world = write_world(tmp_path / "world", "val", scenes=SCENES, pairs_per_scene=1, human_share=1)
    asked, truth = [], {}
    samples = [sample for part in plan(world) for sample in read_part(part)]
    Path("world/images").rename("photos")
    for number, sample in enumerate(samples, 1):
        name = f"IMG_{number:04}.png"
        (Path("photos") / Path(sample.image_uri).name).rename(Path("photos") / name)
        asked.append(f"{name}\t{sample.instruction}")
        truth[name] = sample.human_mask
    Path("asked.txt").write_text("\n".join(asked))
    return truth


def review_all(data, truth):
    """What a careful person says of every label: right, or the fixed mask."""
    with DataSet.open(data) as opened:
        labels, recipe = list(opened.labels()), opened.recipe
    for label in labels:
        true = truth[label.sample.image_uri]
        right = label.mask == true or rle.iou(label.mask, true) >= 0.5
        verdict = {"verdict": "right"} if right else {"verdict": "wrong", "mask": true}
        reviews.append(data, recipe, label.sample.id, "anna", **verdict)
    return len(labels)


def run(command, monkeypatch, capfd):
    for said, instead in STANDS_IN.items():
        command = command.replace(said, instead)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    out, err = capfd.readouterr()
    assert not exit_.value.code, f"{command}\n{out}\n{err}"
    return out


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_of_the_page_in_its_order(pictures, monkeypatch, capfd):
    said, judged = {}, 0
    for command in commands():
        if command == SERVES:
            judged = review_all(Path("trial"), pictures)
        else:
            said[command] = run(command, monkeypatch, capfd)
    pairs = len(pictures)
    assert judged == pairs > SCENES // 2
    learned = said["ivm calibrate --data trial --out photos.json"].partition("on images")[0].splitlines()[1:]
    assert sum(int(line.split()[1]) for line in learned if line.strip()) == judged
    goes_on = next(out for command, out in said.items() if "--first 100" in command)
    assert f"20 of {pairs} pairs are labeled already." in goes_on
    final = next(command for command in said if "--out labels " in command)
    with DataSet.open(Path("labels")) as opened:
        labels = list(opened.labels())
    assert len(labels) == pairs and sum(label.status == "accepted" for label in labels) >= pairs // 4
    coco = json.loads(Path("labels-coco/instances.json").read_text())
    assert coco["annotations"] and Path("story.png").is_file() and Path("labels.html").is_file()
    assert f"{pairs} of {pairs} pairs are labeled already." in run(final, monkeypatch, capfd)


def test_every_block_of_commands_says_that_it_is_not_run_there_and_what_runs_it():
    marks = re.findall(r"(.*)\n^```console$", PAGE.read_text(), re.M)
    assert marks and all(mark.startswith("<!-- not run: ") and "test_your_photos.py" in mark for mark in marks)
    assert SERVES in commands()
