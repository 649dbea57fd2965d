"""Pictures of the Prefect pages for docs/operations.md: `python -m benchmarks.screenshots`.

Starts a server and a worker of its own on a free port, labels a small world through them, and looks at the pages with a
headless Chromium. Ends everything that it started.
"""

from __future__ import annotations

import argparse
import io
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from flows.up import down, up
from ivm_data.worlds.world import write_world
from storage.disk.publish import whole_file

ROOT = Path(__file__).parents[1]
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
VIEW = {"width": 1280, "height": 800}


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--scenes", type=int, default=40)
    options = parser.parse_args()
    if not CHROMIUM:
        sys.exit("no pictures taken: there is no Chromium on this machine; install the package 'chromium'")
    with tempfile.TemporaryDirectory() as scratch, _running(Path(scratch)) as ui, sync_playwright() as playwright:
        run = _labeled(ui, Path(scratch), options.scenes)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport=VIEW)
        for name, address in _addresses(ui, run).items():
            _take(page, f"{ui}{address}", options.out.resolve() / f"ui-{name}.png")
        browser.close()


@contextmanager
def _running(scratch: Path) -> Iterator[str]:
    """Server and worker in a folder that looks like a fresh clone; gives the address of the pages."""
    for entry in ROOT.iterdir():
        if entry.name not in {".git", ".env", "build", "demo", "runs"}:
            (scratch / entry.name).symlink_to(entry)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with chdir(scratch):
        try:
            up(Path("runs/prefect"), port)
            yield f"http://127.0.0.1:{port}"
        finally:
            down(Path("runs/prefect"))


def _labeled(ui: str, scratch: Path, scenes: int) -> dict[str, Any]:
    """A finished labeling run."""
    write_world(scratch / "photos", "test", scenes=scenes, pairs_per_scene=3, human_share=0.25)
    deployment = httpx.get(f"{ui}/api/deployments/name/label/label-batch").json()["id"]
    body = {"parameters": {"manifest": "photos/manifest.jsonl", "part_size": 10}}
    run = httpx.post(f"{ui}/api/deployments/{deployment}/create_flow_run", json=body).raise_for_status().json()
    while run["state_type"] not in {"COMPLETED", "FAILED", "CRASHED"}:
        time.sleep(1)
        run = httpx.get(f"{ui}/api/flow_runs/{run['id']}").json()
    if run["state_type"] != "COMPLETED":
        sys.exit(f"no pictures taken: the labeling run ended as {run['state']['name']}: {run['state']['message']}")
    time.sleep(5)  # Task runs reach the database a moment after they end.
    return run


def _addresses(ui: str, run: dict[str, Any]) -> dict[str, str]:
    """Picture -> page."""
    body = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 50}
    artifacts = httpx.post(f"{ui}/api/artifacts/filter", json=body).json()
    ids = {each["key"]: each["id"] for each in artifacts}
    return {
        "run": f"/runs/flow-run/{run['id']}",
        "form": f"/deployments/deployment/{run['deployment_id']}/run",
        "progress": f"/artifacts/artifact/{ids['label-progress']}",
        "contact-sheet": f"/artifacts/artifact/{ids['label-contact-sheet']}",
    }


def _take(page: Page, address: str, path: Path) -> None:
    page.goto(address)
    # The pages keep a socket open, so that the network is never idle.
    page.wait_for_timeout(6000)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    with whole_file(path) as hidden:
        picture.save(hidden, "PNG", optimize=True)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
