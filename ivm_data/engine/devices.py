"""Which device does what on a machine with several: a whole copy of the recipe on each, or its stages spread over them.

A worker a device is never slower where the recipe fits on one: no stage waits for another, and no batch moves between
processes. Only what does not fit is spread, as pools of the Ray engine.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from ivm_data.engine.pipeline import STAGES
from ivm_data.engine.ray_config import RayConfig
from ivm_data.recipes.doctor import FULL, Finding, device_memory_mib
from storage.errors import ConfigError

ROLES = {
    "rewrite": ("rewriter",), "ground": ("grounders",), "resolve": ("verifier",),
    "segment": ("segmenter", "proposers"), "fuse": (), "verify": ("verifier",),
}  # fmt: skip
"""First part of the roles that a stage loads."""


@dataclass(frozen=True)
class DevicePlan:
    """What each device does.

    Attributes:
        workers: a process on each of these devices labels whole parts; none where the stages are spread.
        pools: where they are spread: stage -> the device of each of its actors.
        share: stage -> what an actor takes of a GPU.
        pace: pairs a second, of the seconds that were given.
        why: in words.
    """

    workers: tuple[str, ...]
    pools: Mapping[str, tuple[str, ...]]
    share: Mapping[str, float]
    pace: float
    why: str

    def ray(self, config: RayConfig) -> RayConfig:
        """The Ray engine's configuration with these pools; together the actors count as three quarters of the cores.

        Raises:
            ConfigError: it names a cluster, or actors and GPUs of its own.
        """
        if not config.here:
            raise ConfigError(
                f"devices are those of this machine, and {config.address!r} is a cluster; give it STAGE.actors and "
                "STAGE.gpus instead"
            )
        if given := [stage for stage, pool in config.pools().items() if (pool.actors, pool.gpus) != (1, 0)]:
            raise ConfigError(
                f"devices place the actors of all stages; leave out {given[0]}.actors and {given[0]}.gpus, or devices"
            )
        cores, count = config.local_cpus or os.cpu_count() or 1, sum(map(len, self.pools.values()))
        pools = {
            stage: replace(
                pool := getattr(config, stage),
                actors=len(devices),
                gpus=self.share[stage],
                cpus=min(pool.cpus, int(75 * cores / count) / 100),
            )
            for stage, devices in self.pools.items()
        }
        return replace(config, **pools)

    def rows(self) -> list[tuple[str, str]]:
        """(device, what runs there) for people."""
        if not self.pools:
            return [(device, "all stages") for device in self.workers]
        found: dict[str, list[str]] = {}
        for stage, devices in self.pools.items():
            for device in devices:
                found.setdefault(device, []).append(stage)
        return [(device, ", ".join(sorted(set(stages), key=[*STAGES].index))) for device, stages in found.items()]


def devices_of(text: str) -> tuple[str, ...]:
    """The devices that a text names: "auto" is every GPU that torch sees, else the CPU; "cpu,cpu" is two workers there.

    Raises:
        ConfigError: another word, a GPU that is not here or is named twice, or CPUs and GPUs.
    """
    import torch

    here = tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    if text == "auto":
        return here or ("cpu",)
    named = tuple(name.strip() for name in text.split(","))
    if all(name == "cpu" for name in named):
        return named
    if unknown := [name for name in named if name not in here]:
        raise ConfigError(
            f"no device {unknown[0]!r} here; give 'auto', 'cpu,cpu' or a list of {', '.join(here) or 'no GPU'}"
        )
    if len(set(named)) < len(named):
        raise ConfigError(f"a GPU is named twice in {text!r}; a worker takes a whole one")
    return named


def place(
    findings: Sequence[Finding], devices: Sequence[str], seconds: Mapping[str, float], *, pools: bool = False
) -> DevicePlan:
    """The faster of the two ways that fit.

    Args:
        findings: what the recipe loads, as `examine` finds it.
        seconds: of each stage a pair on a whole device; stages that lack count as the mean of the others, or 1.
        pools: spread the stages in any case. On CPUs each device is an actor of every stage.

    Raises:
        ConfigError: the experts of one stage fit on no device.
    """
    mean = sum(seconds.values()) / len(seconds) if seconds else 1.0
    took = {stage: seconds.get(stage, mean) for stage in STAGES if stage != "fuse"}
    copies = {(one.copy, one.what): one for one in findings if one.copy and one.device != "cpu"}
    whole_mib = sum(one.memory_mib or 0.0 for one in copies.values())
    room_mib = min((device_memory_mib(device) or 0.0) * FULL for device in devices)
    if pools and devices[0] == "cpu":
        everywhere = {stage: tuple(devices if stage in took else devices[:1]) for stage in STAGES}
        pace = len(devices) / sum(took.values())
        return DevicePlan((), everywhere, dict.fromkeys(STAGES, 0.0), pace, "an actor of each stage for each device")
    if not pools and (whole_mib <= room_mib or devices[0] == "cpu"):
        why = f"all experts fit on each device: {whole_mib:,.0f} of {room_mib:,.0f} MiB"
        return DevicePlan(tuple(devices), {}, {}, len(devices) / sum(took.values()), why)
    return spread(stage_memory(findings), dict.fromkeys(devices, room_mib), took)


def stage_memory(findings: Sequence[Finding]) -> dict[str, float]:
    """MiB of weights that an actor of each stage loads, every copy in it once."""
    found = {}
    for stage, roles in ROLES.items():
        mine = [one for one in findings if one.role.split(".")[0] in roles and one.copy and one.device != "cpu"]
        found[stage] = sum({(one.copy, one.what): one.memory_mib or 0.0 for one in mine}.values())
    return found


def spread(memory: Mapping[str, float], room: Mapping[str, float], seconds: Mapping[str, float]) -> DevicePlan:
    """Pools that fit: each stage once, the largest first, on the device with most room; then the slowest stages again.

    A device has one actor of a stage at most: a second one would only take turns with it.

    Args:
        memory: MiB of an actor of each stage.
        room: MiB that weights may take of each device.

    Raises:
        ConfigError: a stage fits nowhere.
    """
    most = max(room.values())
    share = {stage: min(1.0, ceil(100 * memory[stage] / most) / 100) for stage in memory}
    left, actors = dict.fromkeys(room, 1.0), {stage: list[str]() for stage in STAGES}

    def add(stage: str) -> bool:
        device = max((name for name in left if name not in actors[stage]), key=left.__getitem__, default="")
        if not device or memory[stage] > room[device] or share[stage] > left[device] + 1e-9:
            return False
        left[device] -= share[stage]
        actors[stage].append(device)
        return True

    for stage in sorted(memory, key=lambda name: -memory[name]):
        if not add(stage):
            raise ConfigError(
                f"the experts of stage {stage!r} take {memory[stage]:,.0f} MiB, and no device has that beside the "
                f"others' ({most:,.0f} MiB each, {len(room)} devices); take smaller models, or put the LMM behind an "
                "endpoint"
            )
    slowest = [(-seconds[stage], stage) for stage in seconds]
    heapq.heapify(slowest)
    while slowest:
        _, stage = heapq.heappop(slowest)
        if share[stage] and add(stage):
            heapq.heappush(slowest, (-seconds[stage] / len(actors[stage]), stage))
    load = dict.fromkeys(room, 0.0)
    for stage in seconds:
        for device in actors[stage]:
            load[device] += seconds[stage] / len(actors[stage])
    why = "the stages are spread, by the memory of their experts and their seconds"
    pools = {stage: tuple(devices) for stage, devices in actors.items()}
    return DevicePlan((), pools, share, 1 / max(load.values()), why)
