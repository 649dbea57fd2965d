"""`make setup` finds a Python that fits, or says in one line what to install."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile, and a PATH with nothing but make, a shell and what a test puts there."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("make", "sh"):
        (programs / name).symlink_to(shutil.which(name))
    return tmp_path


def add(checkout, name, version):
    """A `python` of another version, as far as the Makefile looks at it: it runs the question with that version."""
    program = checkout / "programs" / name
    question = f"import sys; sys.version_info = {version}; exec(sys.argv[2])"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = -m ] && exec {sys.executable} "$@"\nexec {sys.executable} -c \'{question}\' "$@"\n'
    )
    program.chmod(0o755)


def make(checkout, *arguments):
    return subprocess.run(
        ["make", *arguments, ".venv/bin/python"],
        cwd=checkout, env={"PATH": str(checkout / "programs")}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_without_a_fitting_python_one_line_says_what_to_install(checkout):
    add(checkout, "python3", (3, 10, 12))
    add(checkout, "python3.13", (3, 14, 0))
    done = make(checkout)
    assert done.returncode
    first, *_ = done.stderr.splitlines()
    assert first.startswith("no Python 3.11, 3.12 or 3.13 with venv among: python3 python3.13 python3.12 python3.11.")
    assert "apt-get install python3.12-venv" in first
    assert not (checkout / ".venv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["python3", "python3.11"])
def test_the_first_python_that_fits_makes_the_environment(checkout, name):
    add(checkout, "python3", (3, 9, 1))
    add(checkout, name, (3, 12, 1))
    assert make(checkout).returncode == 0
    assert (checkout / ".venv" / "bin" / "python").exists()


def test_a_python_that_was_named_and_does_not_fit_is_not_replaced_by_another(checkout):
    add(checkout, "python3", (3, 12, 1))
    add(checkout, "python3.10", (3, 10, 1))
    done = make(checkout, "PYTHON=python3.10")
    assert done.returncode
    assert "among: python3.10." in done.stderr
