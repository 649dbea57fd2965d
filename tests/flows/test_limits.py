import threading
import time

import pytest
import torch
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

from flows.limits import LMM, gpu, gpus, slots, wanted
from ivm_data.config import override
from ivm_data.recipes.labeling_recipes import recipe

HERE = [gpu()] if torch.cuda.is_available() else []
"""What experts on the device "auto" share."""


@pytest.mark.parametrize(
    ("name", "limits"), [("demo", []), ("card", HERE), ("modern", HERE), ("remote-lmm", [LMM, *HERE])]
)
def test_a_part_takes_a_slot_of_whatever_its_experts_share(name, limits):
    assert wanted(recipe(name)) == limits


def test_an_expert_inside_another_counts_too(with_everything):
    assert wanted(override(with_everything, {"proposers.0.uses.verifier.options.device": "cuda:0"})) == [gpu()]


def test_no_more_parts_than_slots_are_under_way(prefect_server):
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="one-at-a-time", limit=1))
    lock, under_way, most = threading.Lock(), [0], [0]

    @task
    def part():
        with slots(["one-at-a-time"]):
            with lock:
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            time.sleep(0.05)
            with lock:
                under_way[0] -= 1

    @flow
    def run():
        for future in [part.submit() for _ in range(3)]:
            future.result()

    run()
    assert most == [1]


def test_a_limit_that_no_server_knows_stops_nobody(prefect_server):
    with slots(["not-there"]):
        pass


def test_every_gpu_has_a_limit_of_its_own_by_its_number_on_the_machine(monkeypatch):
    names = [wanted(recipe("demo", {"segmenter.options.device": f"cuda:{number}"})) for number in (0, 3)]
    assert names == [[gpu(0)], [gpu(3)]] and gpu(0) != gpu(3)
    assert gpus()[0] == gpu(0)
    third = gpu(3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,3")
    assert gpu(1) == third
