"""The stages as actors on a real Ray on loopback, against the local engine."""

import hashlib
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import ray

from ivm_data.engine import ray_engine
from ivm_data.engine.guard import GuardConfig
from ivm_data.engine.labeling import PartsFailedError, label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.engine.ray_config import Pool, RayConfig
from ivm_data.experts.registry import ExpertSpec
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.errors import ConfigError

LMM_SERVER = Path(__file__).parents[2] / "chaos" / "lmm_server.py"
SMALL = RayConfig(local_cpus=2, store_mib=300, retry_s=0.0)


def test_every_stage_has_a_pool_in_the_order_of_the_stages():
    assert list(SMALL.pools()) == ["rewrite", "ground", "resolve", "segment", "fuse", "verify"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Pool(actors=0),
        lambda: Pool(waiting=0),
        lambda: Pool(gpus=-1),
        lambda: Pool(gpus=1.5),
        lambda: RayConfig(retries=-1),
    ],
)
def test_a_config_that_cannot_be_used_is_refused(make):
    with pytest.raises(ConfigError, match="must"):
        make()


@pytest.fixture
def lmm():
    """An LMM behind a server, so that only two of the actors load weights."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, LMM_SERVER, str(port)]) as server:
        yield ExpertSpec("openai", {"base_url": f"http://127.0.0.1:{port}/v1", "model": "shapes"})
        server.kill()


def kill_an_actor(killed, data):
    """Kill one actor of this process's Ray after the first part is committed."""
    while not list(data.rglob("*.light.parquet")):
        time.sleep(0.02)
    for process in psutil.Process().children(recursive=True):
        if any("StageActor" in word for word in process.cmdline()):
            process.kill()
            killed.append(process.pid)
            return


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_files_are_those_of_the_local_engine_although_an_actor_is_killed(tmp_path, lmm):
    manifest = write_world(tmp_path / "world", "val", scenes=12, pairs_per_scene=2, human_share=0.5)
    chosen = replace(recipe("demo", {"batch_size": 2}), rewriter=lmm, verifier=lmm)
    local, spread = (prepare(manifest, tmp_path / name, chosen, part_size=3) for name in ("local", "ray"))
    label_manifest(local)
    killed = []
    killer = threading.Thread(target=kill_an_actor, args=(killed, spread.data), daemon=True)
    with ray_engine.cluster(SMALL):
        with pytest.raises(ConfigError, match=r"want 5\.25 CPUs in all and the cluster has 2"):
            next(ray_engine.label_parts(spread, RayConfig(ground=Pool(cpus=4))))
        killer.start()
        summaries = ray_engine.label_manifest(spread, SMALL)
        assert len(killed) == 1
        assert sorted(summary.part for summary in summaries) == [part.name for part in spread.parts]
        assert digests(local.data) == digests(spread.data)
        assert not any(summary.fresh for summary in ray_engine.label_manifest(spread, SMALL))
        lost = prepare(manifest, tmp_path / "lost", chosen, 3, tmp_path, guard=GuardConfig(input_rows=5))
        with pytest.raises(PartsFailedError, match=r"2 of 8 parts failed, 6 were not tried.*\n.*rejects 6 of the 6"):
            ray_engine.label_manifest(lost, SMALL)
        assert not list(lost.data.rglob("*.light.parquet"))
    assert not [p for p in psutil.Process().children(recursive=True) if any("ray::" in w for w in p.cmdline())]


def digests(data):
    """Of every label file."""
    files = sorted((data / "labels").rglob("*.parquet"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_actors_hold_their_shares_of_a_gpu_and_shares_that_no_gpu_has_left_are_refused(tmp_path, lmm, monkeypatch):
    manifest = write_world(tmp_path / "world", "val", scenes=2, pairs_per_scene=2, human_share=0.5)
    run = prepare(manifest, tmp_path / "data", replace(recipe("demo"), rewriter=lmm, verifier=lmm), part_size=2)
    monkeypatch.setattr(ray_engine, "PLACED_S", 5.0)
    # Ray counts the GPUs that it is given, and asks for none.
    ray.init(
        num_cpus=2,
        num_gpus=2,
        object_store_memory=300 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    try:
        crowded = RayConfig(ground=Pool(gpus=0.6), segment=Pool(gpus=0.6), verify=Pool(gpus=0.6))
        with pytest.raises(ConfigError, match=r"no place for all actors.*segment 1 x \(0\.25, 0\.6\)"):
            next(ray_engine.label_parts(run, crowded))
        with pytest.raises(ConfigError, match=r"want 3 GPUs in all and the cluster has 2"):
            next(ray_engine.label_parts(run, RayConfig(segment=Pool(gpus=1.0, actors=3))))
        shared = RayConfig(ground=Pool(gpus=0.5), segment=Pool(gpus=0.5), verify=Pool(gpus=1.0), retry_s=0.0)
        with watched(lambda: ray.available_resources().get("GPU", 0)) as left:
            ray_engine.label_manifest(run, shared)
    finally:
        ray.shutdown()
    assert min(left) == 0
    assert run.open_parts() == []


@contextmanager
def watched(read):
    """What `read` gave, again and again, while this lasts."""
    seen, over = [], threading.Event()

    def watch():
        while not over.wait(0.1):
            seen.append(read())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
