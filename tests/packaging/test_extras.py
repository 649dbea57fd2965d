"""What a user reads who lacks an extra: which package, and the command that brings it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ivm_data.apply.page import build
from ivm_data.engine.ray_config import RayConfig
from ivm_data.engine.ray_engine import cluster
from ivm_data.experts.registry import ExpertSpec, get
from ivm_data.sources.foreign.containers.tables import HfDatasetConfig, read_hf_dataset
from storage.common.extras import EXTRAS, MissingExtraError, extra
from storage.errors import ConfigError
from storage.upkeep.remote import push

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENDPOINT = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
CALLS = [
    ("app", "gradio", lambda: build(None)),
    ("formats", "datasets", lambda: next(read_hf_dataset(HfDatasetConfig("folder")))),
    ("openai", "openai", lambda: get(ExpertSpec("openai", ENDPOINT))),
    ("original-experts", "segment_anything", lambda: get(ExpertSpec("segment-anything", {"path": "a.pth"}))),
    ("original-experts", "groundingdino", lambda: get(ExpertSpec("groundingdino", {"path": "a.pth"}))),
    ("original-experts", "timm", lambda: get(ExpertSpec("edgetam", {"path": "a"}))),
    ("ray", "ray", lambda: cluster(RayConfig()).__enter__()),
    ("remote", "botocore", lambda: push(Path("data"), "s3://bucket/data")),
]


@pytest.mark.parametrize(("name", "package", "call"), CALLS, ids=[package for _, package, _ in CALLS])
def test_work_without_its_extra_names_the_package_and_the_command(name, package, call, monkeypatch):
    for module in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        call()
    assert f"package '{package}' is not installed" in str(caught.value)
    assert f"pip install 'ivm-engine[{name}]'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "package", "code"),
    [
        ("flows", "prefect", "import flows.label"),
        ("review", "fastapi", "from ivm_data.cli import main; main()"),
        ("figures", "matplotlib", "from ivm_data.report.figures import _write; _write({}, '', None)"),
    ],
)
def test_a_module_without_its_extra_names_the_package_and_the_command(name, package, code, tmp_path):
    code = f"import sys; sys.modules[{package!r}] = None; {code}"
    arguments = ["review", "--data", str(tmp_path), "--reviewer", "ada"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode
    assert f"package '{package}' is not installed" in done.stderr
    assert f"pip install 'ivm-engine[{name}]'" in done.stderr


def test_an_error_of_a_package_that_is_there_is_not_taken_for_a_missing_extra():
    with pytest.raises(ImportError, match="cannot import name 'no_such_name'") as caught, extra("ray"):
        from json import no_such_name  # noqa: F401
    assert not isinstance(caught.value, ConfigError)


def test_every_extra_is_one_of_the_distribution_and_in_all():
    optional = PROJECT["optional-dependencies"]
    assert set(EXTRAS) == set(optional) - {"all", "dev"}
    (everything,) = optional["all"]
    assert everything == f"ivm-engine[{','.join(sorted(EXTRAS))}]"


def test_the_page_lists_every_extra_with_what_it_is_for():
    page = (ROOT / "docs" / "install.md").read_text()
    for name, what in EXTRAS.items():
        assert f"| `{name}` | {what} |" in page


def test_everything_that_the_distribution_may_need_is_pinned():
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    asked = PROJECT["dependencies"] + [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
    names = {re.match(r"[\w-]+", line)[0].lower() for line in asked}
    assert names - {"ivm-engine"} <= pinned


def test_no_file_of_the_build_names_a_registry():
    for name in ("pyproject.toml", "requirements.lock", "Makefile", ".ci/run"):
        text = (ROOT / name).read_text()
        assert not re.search(r"index-url|extra-index|find-links|https?://(?!arxiv\.org/)", text), name
