"""Every block of the README and of docs/ is run, in reading order, in one folder that looks like a fresh clone."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(<!-- not run: (?P<why>.+?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
RUNNABLE = {"console", "python", "sql", "json", "yaml"}
SMALL_DEMO = "--scenes 40 --steps 12"
"""The demo that the other blocks build on, small enough for a test."""


def blocks(page):
    for match in BLOCK.finditer(page.read_text()):
        yield match["language"], match["text"], match["why"]


def commands(text):
    """Lines that start with `$ `, with their continuations."""
    joined = re.sub(r"\\\n\s*>?\s*", "", text)
    return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clone")
    for entry in ROOT.iterdir():
        if entry.name not in {"demo", "build", "dist", ".git", ".venv"}:
            (folder / entry.name).symlink_to(entry)
    make_environment(folder)
    return folder


def make_environment(clone):
    """A `.venv` of the clone's own: installing into it leaves the one of this checkout as it is.

    It runs the clone's packages and finds all others where this checkout has them.
    """
    venv.create(clone / ".venv", symlinks=True)
    ours = Path(sysconfig.get_path("purelib"))
    theirs = clone / ".venv" / ours.relative_to(sys.prefix)
    (theirs / "clone.pth").write_text(f"{clone}\n{ours}\n")
    for script in Path(sys.executable).parent.iterdir():
        copy = clone / ".venv" / "bin" / script.name
        if copy.exists() or not script.is_file():
            continue
        content = script.read_bytes()
        if content.startswith(b"#!") and b"python" in content.partition(b"\n")[0]:
            shebang = f"#!{clone / '.venv' / 'bin' / 'python'}\n".encode()
            copy.write_bytes(shebang + content.partition(b"\n")[2])
            copy.chmod(0o755)
        else:
            copy.symlink_to(script)
    (clone / ".venv" / ".installed").touch()


def run(command, clone):
    environment = os.environ | {
        "PATH": f"{clone / '.venv' / 'bin'}:{os.environ['PATH']}",
        "DEMO": SMALL_DEMO,
        "PREFECT_HOME": str(clone / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_block_of_every_page_runs_in_reading_order(clone):
    for language, text, why in [block for page in PAGES for block in blocks(page)]:
        if why:
            continue
        if language == "console":
            for command in commands(text):
                run(["bash", "-euo", "pipefail", "-c", command], clone)
        elif language == "python":
            run([clone / ".venv" / "bin" / "python", "-c", text], clone)
        elif language == "sql":
            run([clone / ".venv" / "bin" / "ivm", "sql", "--data", "demo/data", text], clone)
        elif language == "json":
            json.loads(text)
        elif language == "yaml":
            yaml.safe_load(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_says_what_it_is(page):
    fences = re.findall(r"^```(\w*)$", page.read_text(), re.M)
    assert set(fences[::2]) <= RUNNABLE | {"text", "mermaid"}
    assert set(fences[1::2]) <= {""}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
