"""A few inputs for every target, and what the harness tells; `make fuzz` runs hundreds."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import strategies as st

from ivm_data.sources.foreign.readers import names
from storage.records import Sample

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
try:
    import foreign
    import harness
    from targets import TARGETS
finally:
    sys.path.remove(str(HERE))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_whatever_comes_from_outside_is_read_or_refused(target, tmp_path):
    result = harness.fuzz(target, tmp_path, examples=8)
    assert not result.failures
    assert result.counts.total() == result.counts["read"] + result.counts["refused"] == 8


def test_every_source_is_a_target():
    assert set(foreign.INPUTS) | foreign.ELSEWHERE == set(names())


@pytest.mark.parametrize("name", foreign.INPUTS)
def test_without_a_fault_every_source_gives_a_sample(name, tmp_path):
    found = foreign.outcomes(name, None, tmp_path)
    assert any(isinstance(outcome, Sample) or outcome.reason == "image_missing" for outcome in found), found


def told(run, tmp_path, seconds=None):
    target = harness.Target("toy", st.just("bad"), "good", lambda given, _: run() if given == "bad" else None)
    return harness.fuzz(target, tmp_path, 1, seconds=seconds)


def test_the_harness_tells_errors_hangs_and_memory_from_refusals(tmp_path):
    def refuse():
        raise harness.IvmError("no")

    def hold():
        return len(bytearray(700 << 20))

    def work():
        while True:
            pass

    assert told(lambda: None, tmp_path).counts == {"read": 1}
    assert told(refuse, tmp_path).counts == {"refused": 1}
    broken = told(lambda: {}["x"], tmp_path)
    assert broken.counts == {"traceback": 1} and "KeyError: 'x'" in broken.failures[0]
    assert told(hold, tmp_path).counts == {"memory": 1}
    assert told(lambda: time.sleep(30), tmp_path, seconds=0.1).counts == {"hang": 1}
    assert told(work, tmp_path, seconds=0.1).counts == {"hang": 1}


@pytest.mark.slow
def test_the_command_counts_each_target_in_a_process_of_its_own():
    command = [sys.executable, HERE / "fuzz.py", "--examples", "5", "--target=--set", "--target=calibration"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [(line[0], line[1], line[4:8]) for line in counted] == [
        (name, "5", ["0"] * 4) for name in ("--set", "calibration")
    ]
