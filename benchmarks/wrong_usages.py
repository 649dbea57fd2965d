"""What `ivm` says to wrong usages: `python -m benchmarks.wrong_usages` writes docs/wrong-usages.md.

Every command runs in this process, in a folder with a world, its labels and a few things that are not what they seem.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants

from ivm_data import cli
from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.common.markdown import markdown_table
from storage.disk.publish import whole_file

PAGE = Path(__file__).parents[1] / "docs" / "wrong-usages.md"

USAGES = {
    "Misspelt": (
        "ivm lable --out data",
        "ivm label --manifst world/manifest.jsonl --out new",
        "ivm label --manifest world/manifest.jsonl --out new --recipe dmeo",
        "ivm label --manifest world/manifest.jsonl --out new --set gate.acept=0.9",
        "ivm label --manifest world/manifest.jsonl --out new --set grounders.0.expert=ground-dino",
        "ivm label --manifest world/manifst.jsonl --out new",
        "ivm query --data data sumary",
        "ivm query --data data review_queue --with limt=3",
        "ivm sql --data data 'select qualty from labels'",
        "ivm sql --data data 'selct 1'",
        "ivm export cocco --data data --out new",
        "ivm import coc --out new.jsonl",
        "ivm clean --data data near_duplicate",
        "ivm figure volume --data data -o new.svg",
        "ivm world new --kinds ordinl",
        "ivm train --data data --out new --set generator.step=3",
    ),
    "Missing": (
        "ivm label --out new",
        "ivm label --manifest world/manifest.jsonl",
        "ivm label --images world/images --out new",
        "ivm label --images photos --instruction 'Find it.' --out new",
        "ivm label --manifest world/manifest.jsonl --out new --recipe small",
        "ivm doctor --recipe crad",
        "ivm rewrite 'Find the cup.' --recipe small",
        "ivm mask world/images/000000.png 'Find the ring.' --model nowhere",
        "ivm query --data nowhere summary",
        "ivm review --data data",
        "ivm train-judge --data data --out new",
        "ivm gate --data data --judge nowhere",
        "ivm explain zzzz --data data",
        "ivm snapshot verify --data data nothing",
        "ivm sql --data data --gate nothing 'select count(*) from labels'",
        "ivm import coco --set instances=nowhere.json --out new.jsonl",
    ),
    "The wrong file or folder": (
        "ivm label --manifest world --out new",
        "ivm label --manifest world/images/000000.png --out new",
        "ivm label --manifest world/manifest.jsonl --out notes.txt",
        "ivm report --data data -o data",
        "ivm report --data data -o report.png",
        "ivm report --data world -o new.html",
        "ivm explain 000 --data data -o story.html",
        "ivm train --data data --out data",
        "ivm mask notes.txt 'Find the ring.' --model model",
        "ivm label --manifest missing.jsonl --out new",
        "ivm label --manifest world/manifest.jsonl --out torn",
        "ivm sql --data torn 'select count(*) from labels'",
    ),
    "Nothing there": (
        "ivm label --manifest empty.jsonl --out new",
        "ivm report --data empty -o new.html",
        "ivm calibrate --data empty --out new.json",
        "ivm export coco --data data --out new --where 'quality > 2'",
        "ivm train --data empty --out new",
    ),
    "Numbers and machines": (
        "ivm label --manifest world/manifest.jsonl --out new --part-size -3",
        "ivm label --manifest world/manifest.jsonl --out new --part-size ten",
        "ivm label --manifest world/manifest.jsonl --out new --set gate.accept=1.5",
        "ivm label --manifest world/manifest.jsonl --out new --set segmenter.options.device=cuda:9",
        "ivm gate --data data --precision 95",
        "ivm world new --scenes -1",
        "ivm push --data data s3//bucket",
        "ivm review --data data --reviewer anna --port 99999",
    ),
}
"""What is wrong -> commands that are."""


@dataclass(frozen=True)
class Said:
    """What became of a command.

    Attributes:
        status: its exit status.
        text: what it wrote to standard error, or to standard output where that stayed empty.
    """

    command: str
    status: int
    text: str


def main() -> None:
    """Run every usage and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = page(folder_with_mistakes(Path(folder)))
    with whole_file(options.out.resolve()) as hidden:
        hidden.write_text(text)


def page(folder: Path) -> str:
    """The page, every command run anew in a folder of `folder_with_mistakes`."""
    count = sum(map(len, USAGES.values()))
    parts = [
        "# Wrong usages, and what is said",
        f"Written by `python -m benchmarks.wrong_usages`, which runs these {count} commands in a folder with a small "
        "world. A mistake is one message that says what, where and what to do next. The exit status is 2 where nothing "
        "was done, 3 where some inputs could not be used, and 0 where an answer came with a warning.",
    ]
    for title, commands in USAGES.items():
        said = answers(folder, commands)
        rows = [[f"`{one.command}`", one.text.replace("|", "\\|"), str(one.status)] for one in said]
        parts += [f"## {title}", markdown_table(["command", "what it says", "exit"], rows).strip()]
    return "\n\n".join(parts) + "\n"


def answers(folder: Path, commands: Sequence[str]) -> Iterator[Said]:
    """Run commands in the folder, one after the other."""
    with chdir(folder), _plain():
        for command in commands:
            yield _run(command)
            shutil.rmtree("new", ignore_errors=True)


def folder_with_mistakes(folder: Path) -> Path:
    """A world, its labels, an empty data set, a torn one, and files that are not what they seem."""
    manifest = write_world(folder / "world", "val", scenes=3, pairs_per_scene=2, human_share=0.5)
    label_manifest(prepare(manifest, folder / "data", recipe("demo"), part_size=6))
    label_manifest(prepare(manifest, folder / "torn", recipe("demo"), part_size=6))
    for shard in (folder / "torn" / "labels").rglob("*.light.parquet"):
        shard.write_bytes(shard.read_bytes()[:200])
    for name in ("empty", "photos", "model"):
        (folder / name).mkdir()
    (folder / "empty" / "labels").mkdir()
    (folder / "empty.jsonl").touch()
    (folder / "notes.txt").write_text("mine\n")
    (folder / "missing.jsonl").write_text('{"image": "gone.png", "instruction": "Find the red ring."}\n')
    return folder


def _run(command: str) -> Said:
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, shlex.split(command)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            cli.main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0
    finally:
        sys.argv = before
    return Said(command, status, _told(err.getvalue()) or _told(out.getvalue()))


def _told(text: str) -> str:
    """Lines of a message as one, without progress bars."""
    lines = [line.strip() for line in text.splitlines() if "━" not in line]
    return " ".join(line for line in lines if line)


@contextmanager
def _plain() -> Iterator[None]:
    """No colours, a terminal that is wide enough, and no weights of a hub."""
    kept, hub = dict(os.environ), constants.HF_HUB_CACHE
    constants.HF_HUB_CACHE = str(Path("no-hub").resolve())
    os.environ.update({"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "HF_HUB_OFFLINE": "1"})
    try:
        yield
    finally:
        constants.HF_HUB_CACHE = hub
        os.environ.clear()
        os.environ.update(kept)


if __name__ == "__main__":
    main()
