"""SIGKILL before each step of an export, a report, a figure, a calibration, a review, a cleaning, a gate and a
snapshot: the earlier version stays, or the new one is whole, and the next run leaves nothing else."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from ivm_data.exports.run import Selection, export
from storage.data_set import DataSet
from storage.disk.publish import sweep
from storage.tables import snapshots
from storage.upkeep.verify import verify

BUILDERS = Path(__file__).parents[1] / "storage"

# For each line "<kind> <step>" it forks a writer, which kills itself before that call that changes the disk.
KILLER = """
import os, signal, sys
from pathlib import Path
from ivm_data.exports.run import Selection, export
from ivm_data.quality import cleaning, regate
from ivm_data.quality.calibration import Calibration, Logistic
from ivm_data.report.build import write_report
from ivm_data.report.figures import draw
from ivm_data.review.session import ReviewSession
from storage.catalog import Catalog
from storage.data_set import DataSet
import ivm_data.exports.coco, matplotlib.figure, matplotlib.backends.backend_svg, PIL.PngImagePlugin

def figure(data, out):
    with Catalog(data) as catalog:
        draw(catalog, "area", out)

def review(_, out):
    session = ReviewSession(out, "anna")
    label = next(session.opened.labels())
    session.decide(session.shown("part-00000", label.sample.id), "wrong", note="no")

def snapshot(_, out):
    with DataSet.open(out) as opened:
        opened.freeze()

def gate(_, out):
    with DataSet.open(out) as opened:
        stricter = regate.changed(regate.current(opened), {"accept": 0.99})
    regate.apply(out, stricter, name="strict", who="anna")

one = Logistic(("support",), (0.0,), (1.0,), (2.0,), 0.5)
WRITE = {
    "export": lambda data, out: export("coco", data, out, Selection(statuses=("accepted", "review")), {}),
    "report.html": lambda data, out: write_report(data, out, pictures=1),
    "figure.svg": figure,
    "calibration.json": lambda data, out: Calibration(one, one, {}, (1, 1)).save(out),
    "review": review,
    "clean": lambda _, out: cleaning.apply(out, cleaning.preview(out, "area_outlier"), "anna"),
    "gate": gate,
    "snapshot": snapshot,
}
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}
data, root = Path(sys.argv[1]), sys.argv[2]
for line in sys.stdin:
    kind, step = line.split()
    run = os.fork()
    if not run:
        left = int(step)
        def count(event, arguments):
            global left
            made = event == "open" and arguments[2] & os.O_CREAT and str(arguments[0]).startswith(root)
            if made or event in CHANGES and str(arguments[0]).startswith(root):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(count)
        WRITE[kind](data, Path(root) / kind / step / kind)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(run, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed") / "data"
    make = "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import builders\n"
    make += "from storage.parts.shards import commit_part; commit_part(Path(sys.argv[2]), builders.make_part(rows=6))"
    subprocess.run([sys.executable, "-c", make, str(BUILDERS), str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def killer(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("outputs")
    command = [sys.executable, "-c", KILLER, str(data), str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def kill(kind, step):
            process.stdin.write(f"{kind} {step}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield root, kill
        process.stdin.close()


def contents(path):
    if path.is_dir():
        return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    return path.read_bytes()


def slow(kind):
    return pytest.param(kind, marks=pytest.mark.slow)


@pytest.mark.parametrize("kind", [slow("export"), slow("report.html"), "figure.svg", slow("calibration.json")])
def test_a_killed_writer_leaves_a_whole_version_and_the_next_one_nothing_else(killer, data, kind):
    root, kill = killer
    ends, found = [], []
    if kind == "export":
        export("coco", data, root / "earlier", Selection(statuses=("accepted",)), {})
    for step in count():
        out = root / kind / str(step) / kind
        out.parent.mkdir(parents=True)
        if kind == "export":
            shutil.copytree(root / "earlier", out)
        else:
            out.write_text("old")
        old = contents(out)
        ends.append(kill(kind, step))
        sweep(out.parent)
        assert [path.name for path in out.parent.iterdir()] == [kind], step
        found.append("old" if contents(out) == old else contents(out))
        if ends[-1] == 0:
            break
    assert set(ends[:-1]) == {-9} and len(ends) > 2 and found[0] == "old"
    whole = found[-1]
    if kind == "figure.svg":  # Each drawing has its own ids and date.
        found = [one if one == "old" else one.startswith(b"<?xml") and one.endswith(b"</svg>\n") for one in found]
        whole = True
    assert all(one in ("old", whole) for one in found) and whole not in ("old", False)


def said(data):
    """What people, rules and gates said of a data set, and its snapshots."""
    with DataSet.open(data) as opened:
        opinions = {(one.sample_id, one.reviewer): one.verdict for one in opened.reviews()}
        excluded = [(one.sample_id, one.rule, one.verdict) for one in opened.decisions()]
        gates = {recipe: gate.hash for recipe, gate in opened.gates.items()}
    return opinions, excluded, gates, snapshots.names(data)


@pytest.mark.parametrize("kind", ["review", slow("clean"), "gate", "snapshot"])
def test_a_killed_writer_of_facts_leaves_a_whole_data_set_and_the_next_one_ends_its_work(killer, data, kind):
    root, kill = killer
    ends, found = [], []
    for step in count():
        out = root / kind / str(step) / kind
        shutil.copytree(data, out)
        old = said(out)
        ends.append(kill(kind, step))
        assert verify(out) == ()
        found.append(said(out))
        if ends[-1] == 0:
            break
        again = root / kind / str(1000 + step) / kind
        shutil.copytree(out, again)
        assert kill(kind, 1000 + step) == 0
        assert verify(again) == ()
        found.append(said(again))
        assert not [path.name for path in again.rglob("*tmp")]
    whole = found[-1]
    assert set(ends[:-1]) == {-9} and len(ends) > 2 and found[0] == old != whole
    assert all(one in (old, whole) for one in found)
    assert all(one == whole for one in found[1::2])


def test_two_exports_into_one_folder_at_once_leave_one_of_them_whole(data, tmp_path):
    names = ("coco", "labelme", "yolo-seg", "coco")
    every = Selection(statuses=("accepted", "review", "rejected"))
    whole = {}
    for name in set(names):
        export(name, data, tmp_path / name, every, {})
        whole[name] = contents(tmp_path / name)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: export(name, data, tmp_path / "one", every, {}), names))
    assert contents(tmp_path / "one") in whole.values()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({*names, "one"})
