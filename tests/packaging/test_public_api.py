"""What a user may import from the top of a package, for people, editors and type checkers alike."""

import ast
import importlib
import tomllib
from pathlib import Path

import pytest

import flows
import ivm_data
import ivm_model
import storage

ROOT = Path(__file__).parents[2]
PACKAGES = [storage, ivm_model, ivm_data, flows]
NAMES = [(package, name) for package in PACKAGES[:3] for name in package.__all__]


def names_for_type_checkers(package):
    """Name -> module, of the imports under `if TYPE_CHECKING`."""
    (block,) = [node for node in ast.parse(Path(package.__file__).read_text()).body if isinstance(node, ast.If)]
    return {alias.name: f"{package.__name__}.{line.module}" for line in block.body for alias in line.names}


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[f"{package.__name__}.{name}" for package, name in NAMES])
def test_a_public_name_is_the_one_that_type_checkers_see(package, name):
    module = names_for_type_checkers(package)[name]
    assert getattr(package, name) is getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("package", PACKAGES[:3], ids=lambda package: package.__name__)
def test_people_and_type_checkers_see_the_same_names(package):
    assert set(names_for_type_checkers(package)) == set(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'Catlog'"):
        _ = package.Catlog


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_package_is_typed_and_has_the_one_version(package):
    assert (Path(package.__file__).parent / "py.typed").is_file()
    assert package.__version__ == storage.__version__


def test_the_version_is_written_down_once():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in pyproject["project"]["dynamic"]
    assert pyproject["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "storage.__version__"}
    assert f"\n## {storage.__version__} " in (ROOT / "CHANGELOG.md").read_text()
