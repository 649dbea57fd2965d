"""What a shell is offered, asked as bash asks."""

import os
import subprocess
import sys

import pytest

ASK = "from ivm_data.cli.app import app; app()"


@pytest.mark.parametrize(
    ("line", "offered", "not_offered"),
    [
        ("ivm query accept", {"acceptance_by_kind", "acceptance_by_source"}, {"duplicates"}),
        ("ivm label --recipe sm", {"small"}, {"demo", "card"}),
        ("ivm doctor --recipe ", {"demo", "card", "modern", "remote-lmm"}, {"embedded"}),
        ("ivm clean area", {"area_outlier"}, {"duplicates"}),
        ("ivm import lero", {"lerobot"}, {"coco"}),
        ("ivm export lab", {"label-studio"}, {"coco"}),
    ],
)
def test_names_that_are_half_typed_are_offered(line, offered, not_offered):
    words = line.split(" ")
    environment = {"_IVM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    made = subprocess.run(
        [sys.executable, "-c", ASK], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    assert offered <= set(made.stdout.split()), made
    assert not not_offered & set(made.stdout.split())
