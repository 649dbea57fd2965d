"""Which device does what, worked out from memory and seconds; and processes on several of them give the same bytes."""

import hashlib
import os
import signal
import threading
import time
from dataclasses import replace

import psutil
import pytest

from ivm_data.config import override
from ivm_data.engine import workers
from ivm_data.engine.devices import devices_of, place, spread, stage_memory
from ivm_data.engine.guard import GuardConfig
from ivm_data.engine.labeling import PartsFailedError, label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.engine.pipeline import STAGES, lanes_of
from ivm_data.engine.ray_config import Pool, RayConfig
from ivm_data.recipes.doctor import examine
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.errors import ConfigError

SECONDS = {"rewrite": 0.1, "ground": 0.1, "resolve": 0.5, "segment": 0.4, "verify": 0.2}
MIB = {"rewrite": 9000.0, "ground": 2000.0, "resolve": 9000.0, "segment": 3000.0, "fuse": 0.0, "verify": 9000.0}
GPUS = {f"cuda:{number}": 20_000.0 for number in range(8)}


def test_a_recipe_that_fits_gets_a_worker_a_device_which_is_as_fast_as_devices_are_many():
    findings = examine(recipe("demo"))
    for count in (1, 2, 8):
        plan = place(findings, ["cpu"] * count, SECONDS)
        assert plan.workers == ("cpu",) * count and not plan.pools
        assert plan.pace == pytest.approx(count / sum(SECONDS.values()))


def test_one_that_fits_on_no_device_is_spread_and_no_device_holds_more_than_it_has():
    plan = spread(MIB, GPUS, SECONDS)
    assert set(plan.pools) == set(STAGES) and all(plan.pools.values())
    held = dict.fromkeys(GPUS, 0.0)
    for stage, devices in plan.pools.items():
        for device in devices:
            held[device] += MIB[stage]
    assert max(held.values()) <= 20_000
    assert sum(SECONDS.values()) / len(GPUS) <= 1 / plan.pace * 1.001
    assert all(len(set(devices)) == len(devices) for devices in plan.pools.values())
    assert len(plan.pools["resolve"]) > len(plan.pools["rewrite"])


def test_the_slowest_stage_gets_what_is_left_so_that_more_devices_are_faster():
    paces = [spread(MIB, dict(list(GPUS.items())[:count]), SECONDS).pace for count in (2, 4, 8)]
    assert paces == sorted(paces) and paces[2] > 2 * paces[0]


def test_a_plan_is_what_ray_is_told():
    plan = spread(MIB, GPUS, SECONDS)
    pools = plan.ray(RayConfig(store_mib=300)).pools()
    assert {stage: pool.actors for stage, pool in pools.items()} == {s: len(on) for s, on in plan.pools.items()}
    assert pools["resolve"].gpus == 0.45 and pools["fuse"].gpus == 0
    assert sum(pool.actors * pool.gpus for pool in pools.values()) <= len(GPUS)


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_ray_gets_an_actor_of_each_stage_for_each_cpu_device_and_all_of_them_fit_on_the_cores(cores):
    plan = place(examine(recipe("demo")), ["cpu"] * 2, SECONDS, pools=True)
    assert not plan.workers and plan.pace == pytest.approx(2 / sum(SECONDS.values()))
    pools = plan.ray(RayConfig(local_cpus=cores)).pools()
    assert {stage: pool.actors for stage, pool in pools.items()} == dict.fromkeys(STAGES, 2) | {"fuse": 1}
    assert 0 < sum(pool.actors * pool.cpus for pool in pools.values()) <= 0.75 * cores
    assert not any(pool.gpus for pool in pools.values())


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (RayConfig(address="auto"), "'auto' is a cluster"),
        (RayConfig(ground=Pool(actors=2)), "leave out ground.actors"),
        (RayConfig(verify=Pool(gpus=0.5)), "leave out verify.actors"),
    ],
)
def test_devices_beside_a_cluster_or_actors_of_ones_own_are_refused(config, why):
    plan = place(examine(recipe("demo")), ["cpu"] * 2, SECONDS, pools=True)
    with pytest.raises(ConfigError, match=why):
        plan.ray(config)


def test_a_stage_that_fits_nowhere_is_named_with_what_to_do():
    with pytest.raises(ConfigError, match=r"'resolve' take 90,000 MiB.*behind an endpoint"):
        spread({**MIB, "resolve": 90_000.0}, GPUS, SECONDS)


def test_a_model_that_two_roles_share_weighs_once(with_everything):
    findings = [replace(one, device="cuda") for one in examine(with_everything)]
    weights = {one.what: one.memory_mib for one in findings}
    memory = stage_memory(findings)
    lmm = next(size for what, size in weights.items() if what.endswith("lmm"))
    assert memory["rewrite"] == memory["verify"] == lmm
    assert memory["segment"] == pytest.approx(sum(weights.values()) - memory["ground"])


def test_a_masking_model_weighs_as_much_as_what_it_lies_on_besides():
    memory = stage_memory([replace(one, device="cuda") for one in examine(recipe("demo"))])
    assert memory["segment"] > memory["rewrite"] + 2 * 2.5, "the LMM and twice the SAM"


def test_devices_are_named_in_words_and_what_is_not_here_is_refused():
    assert devices_of("cpu,cpu") == ("cpu", "cpu")
    assert devices_of("auto")
    for text in ("cuda:99", "gpu", "cpu,cuda:99", ""):
        with pytest.raises(ConfigError, match="give 'auto'"):
            devices_of(text)


def test_batches_overlap_where_a_stage_waits_and_not_where_cores_are_busy(with_everything):
    endpoint = recipe("remote-lmm").verifier
    assert lanes_of(recipe("demo")) == 1
    assert lanes_of(replace(recipe("demo"), verifier=endpoint)) == 3
    assert lanes_of(override(with_everything, {"proposers.0.uses.segmenter.options.device": "cuda"})) == 2


def digests(data):
    """Of every label file."""
    files = sorted((data / "labels").rglob("*.parquet"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), "val", scenes=6, pairs_per_scene=2, human_share=0.5)


def kill_a_worker(killed, data):
    """Kill one worker once the first part is committed."""
    while not list(data.rglob("*.light.parquet")):
        time.sleep(0.02)
    for process in psutil.Process().children(recursive=True):
        if any("spawn_main" in word for word in process.cmdline()):
            os.kill(process.pid, signal.SIGKILL)
            killed.append(process.pid)
            return


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed_write_the_bytes_of_one_with_and_without_lanes(world, tmp_path):
    chosen = recipe("demo", {"batch_size": 2})
    local, lanes, spread_out = (
        prepare(world, tmp_path / name, chosen, 3, lanes=count, compact=False)
        for name, count in (("local", 1), ("lanes", 3), ("workers", 2))
    )
    label_manifest(local)
    label_manifest(lanes)
    killed = []
    killer = threading.Thread(target=kill_a_worker, args=(killed, spread_out.data), daemon=True)
    killer.start()
    summaries = workers.label_manifest(spread_out, ("cpu", "cpu"))
    assert len(killed) == 1
    assert sorted(summary.part for summary in summaries) == [part.name for part in spread_out.parts]
    assert digests(local.data) == digests(lanes.data) == digests(spread_out.data)
    assert not any(summary.fresh for summary in workers.label_manifest(spread_out, ("cpu", "cpu")))
    lost = prepare(world, tmp_path / "lost", chosen, 3, tmp_path, guard=GuardConfig(input_rows=5))
    with pytest.raises(PartsFailedError, match=r"parts failed, . were not tried"):
        workers.label_manifest(lost, ("cpu", "cpu"))
    assert not list(lost.data.rglob("*.light.parquet"))
    assert not [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
