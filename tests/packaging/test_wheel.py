"""The wheel, installed into an environment of its own, far from the checkout: it labels, answers, trains and serves."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("flows", "ivm_data", "ivm_model", "storage")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, as setuptools leaves its files beside the sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "build", "--quiet", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable]
    subprocess.run([*command, "--out-dir", out, source], check=True)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def home(wheel, tmp_path_factory):
    """A folder with an environment that has the wheel, and the packages that it needs from where the tests run."""
    home = tmp_path_factory.mktemp("home")
    venv.create(home / "env", symlinks=True)
    site = sysconfig.get_path("purelib", vars={"base": str(home / "env")})
    Path(site, "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", home / "env" / "bin" / "python"]
    subprocess.run([*command, wheel], check=True)
    return home


@pytest.fixture(scope="module")
def run(home):
    """Runs a program of the environment in the folder, and gives what it prints."""

    def run(program, *arguments):
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PREFECT_API_URL")}
        own = {"PREFECT_HOME": str(home / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        done = subprocess.run(
            [home / "env" / "bin" / program, *map(str, arguments)],
            cwd=home, env=kept | own, capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    return run


@pytest.fixture(scope="module")
def labeled(run, home):
    run("ivm", "world", "world", "--scenes", 6, "--pairs-per-scene", 2, "--human-share", 0.7)
    run("ivm", "label", "--manifest", "world/manifest.jsonl", "--out", "data")
    return home / "data"


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(wheel):
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert {f"{package}/py.typed" for package in PACKAGES} <= wanted
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == wanted


def test_the_environment_runs_the_wheel_and_not_the_checkout(run, home):
    where = run("python", "-c", "import flows, ivm_data, ivm_model, storage as s; print(flows.__path__, s.__path__)")
    assert str(home) in where
    assert str(ROOT) not in where
    assert run("ivm", "--version").startswith("ivm-engine ")


def test_it_labels_and_answers(run, labeled):
    rows = run("ivm", "sql", "--data", labeled, "--format", "csv", "select count(*) as n from outcomes").split()
    assert rows == ["n", "12"]
    assert "accepted" in run("ivm", "query", "--data", labeled, "summary")
    run("ivm", "report", "--data", labeled, "-o", "report.html")
    assert "<html" in (labeled.parent / "report.html").read_text()


def test_it_trains_and_masks(run, labeled):
    few = ("weighting=uniform", "generator.steps=2", "rows.test_share=0")
    run("ivm", "train", "--data", labeled, "--out", "model", *(part for each in few for part in ("--set", each)))
    image = next((labeled.parent / "world" / "images").iterdir())
    run("ivm", "mask", image, "the red ring", "-o", "masked.png", "--model", "model")
    assert (labeled.parent / "masked.png").is_file()


def test_it_serves_its_flows(run, home, labeled):
    names = run(
        "python", "-c", "from flows.serve import deployments\nfor each in deployments(): print(each.entrypoint)"
    )
    assert "flows.label.label" in names.split()
    label = "load_flow_from_entrypoint('flows.label.label')('world/manifest.jsonl', 'again', part_size=6)"
    run("python", "-c", f"from prefect.flows import load_flow_from_entrypoint\n{label}")
    rows = run("ivm", "sql", "--data", "again", "--format", "csv", "select count(*) as n from outcomes").split()
    assert rows == ["n", "12"]
