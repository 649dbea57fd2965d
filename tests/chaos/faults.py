"""The faults of a storm: each starts a labeling run, breaks something at a random moment, and runs it again."""

from __future__ import annotations

import resource
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil
from labeler import PART_SIZE, chosen
from processes import Labeler, LmmServer, PrefectWorld, kill_family, wait_for

DISK_MIB = 2


class NotPossibleError(Exception):
    """This machine does not permit the fault."""


@dataclass
class Round:
    """One run to break.

    Attributes:
        seconds: what an undisturbed run takes in this process.
        bytes: what it writes.
    """

    data: Path
    manifest: Path
    rng: Random
    seconds: float
    bytes: int
    lmm: LmmServer
    labeler: Labeler
    ray: Callable[[], Labeler]
    prefect: Callable[[], PrefectWorld]

    def moment(self) -> None:
        """Wait until some moment of the run."""
        time.sleep(self.rng.uniform(0, self.seconds))


def labeling_killed(round: Round) -> None:
    process = round.labeler.start(round.data)
    round.moment()
    _kill(process)
    round.labeler.end()


def lmm_server_killed(round: Round) -> None:
    round.labeler.start(round.data)
    round.moment()
    round.lmm.kill()
    time.sleep(round.rng.uniform(0, 2))
    round.lmm.start()
    round.labeler.end()


def endpoint_silent(round: Round) -> None:
    """The server is stopped, not ended: connections stay open and no byte comes back, as when packets are lost."""
    round.labeler.start(round.data)
    round.moment()
    round.lmm.process.send_signal(signal.SIGSTOP)
    time.sleep(round.rng.uniform(0, 5))
    round.lmm.process.send_signal(signal.SIGCONT)
    round.labeler.end()


def disk_full(round: Round) -> None:
    """A tmpfs that holds the run, and beside it a file that leaves less than the run needs."""
    round.data.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", round.data],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        raise NotPossibleError(mounted.stderr.strip())
    left = round.rng.randrange(round.bytes)
    fill = round.data / "fill"
    fill.write_bytes(bytes(DISK_MIB * 2**20 - left))
    round.labeler.start(round.data)
    assert round.labeler.end() == 1, f"a run that needs {round.bytes} bytes went through with {left}"
    fill.unlink()


def store_refuses_writes(round: Round) -> None:
    """From some moment on no file of the run may grow beyond some size (RLIMIT_FSIZE), under any user."""
    process = round.labeler.start(round.data)
    round.moment()
    with suppress(ProcessLookupError):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (round.rng.randrange(6000),) * 2)
    round.labeler.end()


def ray_actor_killed(round: Round) -> None:
    labeler = round.ray()
    process = labeler.start(round.data)
    for _ in range(round.rng.randrange(1, 3)):
        actors = wait_for(lambda: _actors(process) if process.is_running() else [None], "Ray actor")
        _ray_moment(round, process)
        if victim := round.rng.choice(_actors(process) or actors):
            _kill(victim)
    assert labeler.end() == 0, "Ray did not recover by itself"


def ray_driver_killed(round: Round) -> None:
    labeler = round.ray()
    process = labeler.start(round.data)
    wait_for(lambda: _actors(process), "Ray actor")
    _ray_moment(round, process)
    # Two agents of Ray's own, without experts, try for a minute more to reach the cluster that is gone.
    family = [each for each in _family(process) if "Agent" not in _title(each)]
    _kill(process)
    labeler.end()
    left = psutil.wait_procs(family, 60)[1]
    assert not left, f"these outlive their driver: {[_title(each) for each in left]}"


def flow_killed(round: Round) -> None:
    world = round.prefect()
    run = _started_flow(round, world)
    for process in world.runs():
        _kill(process)
    assert world.wait(run) == "CRASHED" or _committed(round)
    _flow_again(round, world)


def worker_killed(round: Round) -> None:
    world = round.prefect()
    _started_flow(round, world)
    kill_family(world.find("worker"))
    world.up()
    _flow_again(round, world)


def prefect_server_killed(round: Round) -> None:
    world = round.prefect()
    _started_flow(round, world)
    kill_family(world.find("server"))
    time.sleep(round.rng.uniform(0, 3))
    world.up()
    _flow_again(round, world)


QUICK = (labeling_killed, lmm_server_killed, endpoint_silent, disk_full, store_refuses_writes)
SLOW = (ray_actor_killed, flow_killed, ray_driver_killed, worker_killed, prefect_server_killed)
FAULTS: dict[str, Callable[[Round], None]] = {fault.__name__: fault for fault in (*QUICK, *SLOW)}


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _actors(process: psutil.Process) -> list[psutil.Process]:
    """The processes of stages: Ray names a worker after what it runs."""
    return [each for each in _family(process) if "StageActor" in _title(each)]


def _ray_moment(round: Round, process: psutil.Process) -> None:
    """Wait until some moment while the actors come up or, in half of the rounds, after the first part."""
    if round.rng.random() < 0.5:
        time.sleep(round.rng.uniform(0, 4 * round.seconds))
    else:
        wait_for(lambda: _committed(round) or not process.is_running(), "part")
        round.moment()


def _committed(round: Round) -> int:
    return len(list(round.data.rglob("*.light.parquet")))


def _start_flow(round: Round, world: PrefectWorld) -> str:
    return world.start(
        manifest=str(round.manifest), data=str(round.data), overrides=chosen(round.lmm.url), part_size=PART_SIZE,
        concurrency=1,
    )  # fmt: skip


def _started_flow(round: Round, world: PrefectWorld) -> str:
    """A run of a flow, at some moment after its process came up or, in half of the rounds, after its first part."""
    run = _start_flow(round, world)
    wait_for(lambda: world.runs(), "flow process")
    if round.rng.random() < 0.5:
        wait_for(lambda: _committed(round), "part")
    round.moment()
    return run


def _flow_again(round: Round, world: PrefectWorld) -> None:
    """Run the same again, as an operator does; what is left of the first run may still be under way."""
    assert world.wait(_start_flow(round, world)) == "COMPLETED"
