"""What a command may import before it needs it: by module name, as seconds depend on the machine."""

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ivm_data.recipes
import storage

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "torchvision", "transformers", "sklearn", "scipy", "pandas", "cv2", "matplotlib", "ray", "datasets"}
RUN = """
import atexit, importlib, json, sys

@atexit.register
def report():
    loaded = {name.partition(".")[0] for name in sys.modules}
    print("\\nloaded", json.dumps(sorted(loaded)), file=sys.stderr)

"""
COMMAND = RUN + "sys.argv = ['ivm', *sys.argv[1:]]\nfrom ivm_data.cli import main\nmain()"
MODULES = (
    RUN
    + """
for name in sys.argv[2:]:
    before = set(sys.modules)
    importlib.import_module(name)
    if heavy := sorted((set(sys.modules) - before) & set(json.loads(sys.argv[1]))):
        print(name, "imports", *heavy)
"""
)
FLOWS = sorted(
    {
        each["entrypoint"].rpartition(".")[0]
        for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    }
)


def run(code, *arguments, cwd=ROOT):
    """Exit status, output, and the top-level names of all modules that were imported."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    errors, _, loaded = done.stderr.rpartition("\nloaded ")
    return done.returncode, done.stdout + errors, set(json.loads(loaded))


def modules_of(package):
    return [package.__name__, *(each.name for each in pkgutil.walk_packages(package.__path__, package.__name__ + "."))]


def test_help_imports_neither_models_nor_tables():
    status, out, loaded = run(COMMAND, "--help")
    assert status == 0
    assert "instruction-guided visual masking" in out
    assert not loaded & (HEAVY | {"numpy", "pyarrow", "duckdb", "prefect"})


def test_a_question_in_sql_imports_duckdb_and_arrow_only(tmp_path):
    from storage.tables.recipes import write_recipe

    write_recipe(tmp_path, "3f9c0a", {"gate": {"accept": 0.9}})
    status, out, loaded = run(
        COMMAND, "sql", "--data", tmp_path, "--format", "csv", "select count(*) as n from recipes"
    )
    assert (status, out.split()) == (0, ["n", "1"])
    assert "duckdb" in loaded
    assert not loaded & (HEAVY | {"prefect", "PIL"})


def test_a_missing_manifest_is_reported_before_a_model_library_is_imported(tmp_path):
    status, out, loaded = run(COMMAND, "label", "--manifest", "gone.jsonl", "--out", "data", cwd=tmp_path)
    assert status == 2
    assert "gone.jsonl" in out
    assert not loaded & (HEAVY | {"prefect"})


def test_the_packages_themselves_import_nothing():
    status, out, loaded = run(MODULES, "[]", "storage", "ivm_model", "ivm_data", "flows")
    assert (status, out) == (0, "")
    assert not loaded & (HEAVY | {"numpy", "pyarrow", "duckdb", "prefect", "typer"})


def test_flows_are_imported_without_what_their_tasks_need():
    status, out, _ = run(MODULES, json.dumps(sorted(HEAVY)), "flows.choices", *FLOWS)
    assert (status, out) == (0, "")


@pytest.mark.parametrize("package", [storage, ivm_data.recipes], ids=lambda package: package.__name__)
def test_storage_and_recipes_are_imported_without_models(package):
    status, out, _ = run(MODULES, json.dumps(sorted(HEAVY | {"prefect"})), *modules_of(package))
    assert (status, out) == (0, "")
