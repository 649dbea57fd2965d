"""What surrounds the code says the same as the code: workflow, hooks, forms, release notes."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
JOB = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["check"]
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.M))


def runs(text):
    return re.findall(r"^\s*(?:- run: )?make ([a-z]+)", text, re.M)


def test_every_python_is_named_by_the_distribution_the_makefile_and_the_workflow():
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if line.startswith("Programming Language")]
    assert JOB["strategy"]["matrix"]["python"] == named
    oldest, newest = (tuple(map(int, each.split("."))) for each in (named[0], named[-1]))
    assert PROJECT["requires-python"] == f">={named[0]},<{newest[0]}.{newest[1] + 1}"
    assert f"{oldest} <= sys.version_info[:2] <= {newest}" in MAKEFILE


def test_the_workflow_runs_what_ci_runs():
    steps = "\n".join(step.get("run", "") for step in JOB["steps"])
    assert runs(steps) == runs((ROOT / ".ci" / "run").read_text())
    assert set(runs(steps)) <= TARGETS


def test_hooks_before_a_commit_are_the_tools_that_make_lint_runs():
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [hook["entry"].removeprefix(".venv/bin/").split(" --")[0] for hook in repo["hooks"]]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)[1]
    linters = re.findall(r"^\t\$\(BIN\)/(.+?)(?: --check)?(?: \.)?$", lint, re.M)
    assert repo["repo"] == "local"
    assert hooks == linters


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.stem
)
def test_a_form_has_a_name_a_description_and_fields_of_its_own(form):
    content = yaml.safe_load(form.read_text())
    assert content["name"] and content["description"]
    names = [field["id"] for field in content["body"]]
    assert len(names) == len(set(names))
    assert all(field["attributes"]["label"] for field in content["body"])


def test_release_notes_have_a_section_a_version_newest_first():
    versions = re.findall(
        r"^## (\d+)\.(\d+)\.(\d+) - (unreleased|\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.M
    )
    assert len(versions) == len(re.findall(r"^## ", (ROOT / "CHANGELOG.md").read_text(), re.M))
    numbers = [tuple(map(int, version[:3])) for version in versions]
    assert numbers == sorted(numbers, reverse=True)
    assert all(date != "unreleased" for *_, date in versions[1:])


def test_no_committed_text_names_a_folder_of_one_machine():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*.yml"), *ROOT.glob("*.yaml"), *(ROOT / ".github").rglob("*.*ml")]:
        assert not re.search(r"(?<![\w.:}/])/(work|root|home|tmp|Users)/", path.read_text()), path
