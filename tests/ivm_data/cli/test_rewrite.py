import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ivm_data.cli.app import app
from storage.errors import ConfigError

RUNNER = CliRunner()


def rewritten(*arguments):
    result = RUNNER.invoke(app, ["rewrite", *map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_embedded_rewriter_shows_what_it_makes_of_an_instruction(tmp_path):
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "black.png")
    for more in ((), ("--image", tmp_path / "black.png")):
        (row,) = rewritten("Find the star left of the small blue square.", *more)
        assert set(row) >= {"targets", "relation", "anchor", "all", "scope", "things", "notes", "fault", "answer"}
    (row,) = rewritten("Find the star left of the small blue square.")
    assert (row["targets"], row["relation"], row["anchor"], row["scope"]) == (
        ["star"],
        "left of",
        "small blue square",
        "things",
    )


def test_each_answer_of_a_file_has_its_line(tmp_path):
    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        '{"answer": "Sure! find red mug and all forks"}\n\n{"answer": "find it"}\nnonsense\n{"answer": 3}\n'
        '{"answer": "The whole image."}\n{"answer": "find cup nearest to the door"}\n'
        '{"answer": "find red m", "cut": true}\n'
    )
    mug, it, nonsense, number, whole, cup, cut = rewritten("--read", answers)
    assert mug["targets"] == ["red mug", "forks"] and not mug["all"] and [t["count"] for t in mug["things"]] == [1, 0]
    assert it["targets"] == [] and it["scope"] is None and "names nothing" in it["fault"]
    assert "line 2 is no JSON object" not in nonsense["fault"] and "is no JSON object" in nonsense["fault"]
    assert "is no JSON object" in number["fault"]
    assert whole["scope"] == "whole image" and whole["fault"] == ""
    assert cup["targets"] == ["cup nearest to door"] and cup["relation"] == ""
    assert "cut" in cut["fault"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give an instruction, or --read"),
        (["find", "--read", "x.jsonl"], "give an instruction, or --read"),
        (["--read", "/nowhere.jsonl"], "cannot be read"),
        (["find", "--image", "/nowhere.png"], "cannot be read"),
    ],
)
def test_what_is_missing_is_said(arguments, message):
    with pytest.raises(ConfigError, match=message):
        RUNNER.invoke(app, ["rewrite", *arguments], catch_exceptions=False)
