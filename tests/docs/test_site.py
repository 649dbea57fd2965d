"""The documentation site is built without a warning, and shows everything without a look at another site."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ivm_data
import ivm_model
import storage

ROOT = Path(__file__).parents[2]


class _Lenient(yaml.SafeLoader):
    """mkdocs.yml names a function of a plugin; here it is text."""


_Lenient.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda loader, name, node: name)
CONFIG = yaml.load((ROOT / "mkdocs.yml").read_text(), _Lenient)


def pages(nav):
    for entry in nav:
        if isinstance(entry, dict):
            for below in entry.values():
                yield from pages(below)
        else:
            yield entry


def test_the_navigation_leads_to_every_page_of_docs():
    listed = list(pages(CONFIG["nav"]))
    assert len(listed) == len(set(listed))
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")} <= set(listed)
    assert [page for page in listed if not (ROOT / page).is_file()] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_no_page_loads_anything_from_another_site(site):
    found = list(site.rglob("*.html"))
    assert len(found) > 50
    for page in found:
        text = page.read_text()
        loads = re.findall(r"<(?:script|img|iframe)[^>]+src=\"?([^\"\s>]+)|<link[^>]+href=\"?([^\"\s>]+)", text)
        away = [address for pair in loads for address in pair if re.match(r"(https?:)?//", address)]
        assert away == [], page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", style.read_text()), style


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(site):
    start = (site / "api" / "index.html").read_text()
    for package in (storage, ivm_model, ivm_data):
        for name in package.__all__:
            (link,) = re.findall(rf'href="([^"]+)"[^>]*><code>{package.__name__}\.{name}</code>', start)
            page, _, anchor = link.partition("#")
            assert f'id="{anchor}"' in (site / "api" / page).read_text(), name


@pytest.mark.slow
def test_the_readme_links_to_the_same_pages_here_and_there(site):
    start = (site / "index.html").read_text()
    for target in re.findall(r"\]\((docs/[\w-]+)\.md", (ROOT / "README.md").read_text()):
        assert f'href="{target}.html' in start
        assert (site / f"{target}.html").is_file()
