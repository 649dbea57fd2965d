"""The pages of the documentation site: the repository's own files at their own places, and the API reference.

MkDocs calls `on_config` and `on_files`. A file is in the site if it is a page, or if a page links to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGES = ("storage", "ivm_model", "ivm_data", "flows")
ASSETS = tuple(
    f"docs/assets/{name}" for name in ("mermaid.min.js", "mermaid.LICENSE", "iframe-worker.js", "iframe-worker.LICENSE")
)
_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def on_config(config: Any) -> Any:
    """Put the API reference at the end of the navigation."""
    config.nav = [*config.nav, {"API": ["api/README.md", *(f"api/{folder}.md" for folder in modules())]}]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Replace what lies in `docs_dir` by the mirror."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    mirrored = [File.generated(config, name, abs_src_path=str(ROOT / name)) for name in (*mirror(), *ASSETS)]
    reference = [File.generated(config, name, content=text) for name, text in api().items()]
    return Files([*theme, *mirrored, *reference])


def mirror() -> list[str]:
    """Every page and every file that a page links to, as paths from the repository's root."""
    waiting = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        if path.suffix == ".md":
            waiting += [(path.parent / target).resolve() for target in _LINK.findall(path.read_text(encoding="utf-8"))]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def api() -> dict[str, str]:
    """Name -> text of the pages of the API reference."""
    pages = {f"api/{folder}.md": _page(folder, names) for folder, names in modules().items()}
    tops = "\n\n".join(f"## {package}\n\n{_public(package)}" for package in PACKAGES[:3])
    start = (
        f"# API reference\n\nWhat you may import from the top of a package; the pages below have all of it.\n\n{tops}\n"
    )
    return {"api/README.md": start, **pages}


def modules() -> dict[str, list[str]]:
    """Folder, dotted -> its public modules."""
    folders: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if not parts[-1].startswith("_"):
                folders.setdefault(".".join(parts[:-1]), []).append(".".join(parts))
    return folders


def _page(folder: str, names: list[str]) -> str:
    return f"# {folder}\n\n" + "\n\n".join(f"::: {name}" for name in names) + "\n"


def _public(package: str) -> str:
    text = (ROOT / package / "__init__.py").read_text(encoding="utf-8")
    return "\n".join(f"- {link}" for link in _links(package, text))


def _links(package: str, text: str) -> Iterator[str]:
    for module, name in re.findall(r"^    from \.([\w.]+) import (\w+) as \w+$", text, re.M):
        yield f"[`{package}.{name}`][{package}.{module}.{name}]"
