"""A pair is labeled once, also where runs are killed, and where several processes run at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from storage.upkeep.verify import verify

# Imports once. For each line, a JSON object, it forks `runs` labelers at once; one that is to kill itself does so
# before it writes its file number `kill`. It answers with their exit statuses.
LABELERS = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import labelers
from storage.parts import shards
def label(manifest, data, part_size, again, kill, silent):
    written, write_table = [], shards.write_table
    def write(path, *arguments):
        written.append(path)
        if len(written) == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        write_table(path, *arguments)
    shards.write_table = write
    labelers.Labeler(Path(data), silent=set(silent)).label(Path(manifest), part_size, tuple(again))
for line in sys.stdin:
    asked, runs = json.loads(line), []
    for _ in range(asked.pop("runs")):
        run = os.fork()
        if not run:
            try:
                label(**asked)
                os._exit(0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
        runs.append(run)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(run, 0)[1]) for run in runs]), flush=True)
"""
PAIRS = [(image, instruction) for image in range(5) for instruction in range(2)]


@pytest.fixture(scope="module")
def processes(labelers):
    """Labels in processes of their own; gives their exit statuses."""
    command = [sys.executable, "-c", LABELERS, str(Path(labelers.__file__).parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def label(manifest, data, part_size=4, again=(), runs=1, kill=0, silent=()):
            asked = {"manifest": str(manifest), "data": str(data), "part_size": part_size, "again": again}
            process.stdin.write(json.dumps({**asked, "runs": runs, "kill": kill, "silent": silent}) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield label
        process.stdin.close()


@pytest.fixture
def records(labelers):
    return labelers.lines(*PAIRS)


@pytest.mark.parametrize("again", [(), pytest.param(("not_rewritten",), marks=pytest.mark.slow)])
def test_a_run_killed_before_any_of_its_files_ends_as_one_that_was_not(
    tmp_path, photos, labelers, processes, records, again
):
    """Before each of the four files of a part and the first of the next, of new lines and of some once more."""
    for kill in range(1, 6):
        labeler = labelers.Labeler(tmp_path / f"data-{kill}", silent={"Find ring 1."})
        labeler.label(labelers.write_manifest(photos, records if again else records[:3]), 4)
        manifest = labelers.write_manifest(photos, records)
        assert processes(manifest, labeler.data, again=again, kill=kill) == [-9]
        assert verify(labeler.data) == ()
        labeler.silent = set()
        labeler.label(manifest, 4, again)
        if not again:
            labeler.label(manifest, 4, ("not_rewritten",))
        ended = labelers.counted(labeler.data)
        assert (len(ended), "not_rewritten" in ended.values()) == (10, False)
        assert labeler.label(manifest, 4) == 0
        assert verify(labeler.data) == ()


TARGET = {"targets": [{"mask_rle": {"size": [16, 16], "counts": [0, 32, 224]}}]}


@pytest.mark.parametrize("kill", [1, 2, 3, 8, *(pytest.param(kill, marks=pytest.mark.slow) for kill in range(4, 8))])
def test_a_run_that_takes_a_label_back_may_be_killed(photos, labelers, labeler, processes, records, kill):
    (said,) = labelers.lines((0, 0), **TARGET)
    labeler.label(labelers.write_manifest(photos, records), 4)
    # Of the first pair another record says something else, of the last one it is held out under another name.
    (photos / "copy.png").write_bytes((photos / "4.png").read_bytes())
    (held,) = labelers.lines(("copy", 1), held_out=True, **TARGET)
    (other,) = labelers.lines((0, 0), targets=[])
    manifest = labelers.write_manifest(photos, [*records[1:], said, other, held])
    assert processes(manifest, labeler.data, 3, kill=kill) in ([-9], [0])
    assert verify(labeler.data) == ()
    labeler.label(manifest, 3)
    ended = labelers.counted(labeler.data)
    assert list(ended.values()).count("conflicting_targets") == 2
    assert len(ended) == 11
    assert labeler.label(manifest, 3) == 0
    assert labeler.prepare(manifest).open_parts() == []


@pytest.mark.parametrize("turn", [0, *(pytest.param(turn, marks=pytest.mark.slow) for turn in (1, 2))])
def test_processes_at_once_over_an_edited_manifest_double_and_lose_nothing(
    photos, labelers, labeler, processes, records, turn
):
    labeler.label(labelers.write_manifest(photos, records[:4]), 3)
    (photos / "copy.png").write_bytes((photos / "4.png").read_bytes())
    (held,) = labelers.lines(("copy", 1), held_out=True, **TARGET)
    manifest = labelers.write_manifest(photos, [records[-1], *records[2:-1], held, *records[:2]])
    assert processes(manifest, labeler.data, part_size=1 + turn, runs=4) == [0] * 4
    assert len(labelers.counted(labeler.data)) == 10
    assert labeler.label(manifest, 1 + turn) == 0
    assert len(labelers.counted(labeler.data)) == 10
    assert verify(labeler.data) == ()


def test_processes_at_once_that_label_again_double_and_lose_nothing(photos, labelers, labeler, processes, records):
    labeler.silent = {"Find ring 1."}
    manifest = labelers.write_manifest(photos, records)
    labeler.label(manifest, 3)
    assert processes(manifest, labeler.data, 3, ["not_rewritten"], runs=4, silent=["Find ring 1."]) == [0] * 4
    assert list(labelers.counted(labeler.data).values()).count("not_rewritten") == 5
    assert processes(manifest, labeler.data, 3, ["not_rewritten"], runs=4) == [0] * 4
    ended = labelers.counted(labeler.data)
    assert (len(ended), "not_rewritten" in ended.values()) == (10, False)
    assert verify(labeler.data) == ()
