"""What Prefect costs around labeling, and how its server bears a burst of tasks: `python -m benchmarks.orchestration`.

Starts a server of its own on a free port, with the settings of prefect.toml, and ends it. The flow `label` and the
plain loop `label_manifest` take turns on the same manifest with the same loaded experts, and must leave the same
labels. Writes benchmarks/results/orchestration.json and prints its tables in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import torch
from prefect import flow
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.experts import machine
from flows.label import label
from flows.runtime import in_flight, retried
from flows.server import Server
from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.sources.manifest import plan
from ivm_data.worlds.world import write_world
from storage.common.markdown import markdown_table
from storage.upkeep.digest import content_hash

PAGE = Path(__file__).parent / "results" / "orchestration.json"
TALKATIVE = {"PREFECT_SERVER_LOGGING_LEVEL": "INFO", "PREFECT_SERVER_LOG_RETRYABLE_ERRORS": "true"}
"""Without these the server's log has no requests, and leaves out every "database is locked" that a client may retry."""
PART_S = 30
"""Seconds of a part that the overhead is compared with; the least that the flow `label` recommends."""
PAIRS_A_PART = 2
RECORDED_S = 600.0
"""Seconds that the server has to record the last task run of the burst."""


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    facts: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.orchestration", *sys.argv[1:]]),
        "machine": machine(argparse.Namespace(device="cpu", threads=1)),
        "load": [os.getloadavg()[0]],
    }
    with tempfile.TemporaryDirectory() as scratch, _running(Path(scratch)) as server:
        facts["label"] = labeling(Path(scratch), server, options.parts, options.rounds)
        facts["load"].append(os.getloadavg()[0])
        facts["burst"] = burst(server, options.tasks, options.limit)
        facts["load"].append(os.getloadavg()[0])
        facts["log"] = complaints(server.process.log)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"{facts['machine']}; load {', '.join(f'{load:.1f}' for load in facts['load'])}\n")
    for name in ("label", "burst", "log"):
        print(markdown_table(("measured", "value"), list(facts[name].items())), end="\n\n")


@contextmanager
def _running(scratch: Path) -> Iterator[Server]:
    """A server that this process talks to."""
    os.environ |= TALKATIVE
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(scratch / "prefect", port)
    try:
        server.start()
        with temporary_settings({PREFECT_API_URL: server.url}):
            yield server
    finally:
        server.process.stop()


def labeling(scratch: Path, server: Server, parts: int, rounds: int) -> dict[str, float]:
    """Medians over the rounds, after one that loads the experts. CPU seconds of the flow are its own and the server's.

    The overhead holds all that the flow does beyond the loop: task runs, progress, log, tables and contact sheet at the
    end. What a run costs that finds every part committed is the share of it that does not grow with the parts.
    """
    manifest = write_world(scratch / "world", "test", scenes=parts, pairs_per_scene=PAIRS_A_PART, human_share=0.25)
    taken: list[tuple[float, ...]] = []
    for index in range(rounds + 1):
        plain, flowed = (scratch / f"{name}-{index}" for name in ("plain", "flow"))
        by_loop = timed(lambda data=plain: _loop(manifest, data), server)
        by_flow = timed(lambda data=flowed: _flow(manifest, data), server)
        nothing = timed(lambda data=flowed: _flow(manifest, data), server)
        if content_hash(plain) != content_hash(flowed):
            raise SystemExit(f"round {index}: the flow and the plain loop left different labels")
        taken.append((*by_loop, *by_flow, *nothing))
    columns = [median(each) for each in zip(*taken[1:], strict=True)]
    loop_s, loop_cpu_s, flow_s, flow_cpu_s, fixed_s, fixed_cpu_s = columns
    count = len(plan(manifest, PAIRS_A_PART))
    a_part, cpu_a_part = (flow_s - loop_s) / count, (flow_cpu_s - loop_cpu_s) / count
    return {
        "parts": count, "rounds": rounds,
        "plain loop s": loop_s, "flow s": flow_s, "flow with nothing to do s": fixed_s,
        "plain loop CPU s": loop_cpu_s, "flow CPU s": flow_cpu_s, "flow with nothing to do CPU s": fixed_cpu_s,
        "overhead s a part": a_part, "overhead CPU s a part": cpu_a_part,
        f"overhead at {PART_S} s a part": a_part / PART_S, f"CPU overhead at {PART_S} s a part": cpu_a_part / PART_S,
    }  # fmt: skip


def _loop(manifest: Path, data: Path) -> None:
    label_manifest(prepare(manifest, data, recipe("demo"), PAIRS_A_PART))


def _flow(manifest: Path, data: Path) -> None:
    label(manifest, data, part_size=PAIRS_A_PART, concurrency=1)


def timed(call: Callable[[], object], server: Server) -> tuple[float, float]:
    """(wall-clock, CPU of this process and the server) seconds."""
    wall, cpu = time.perf_counter(), _cpu(server)
    call()
    return time.perf_counter() - wall, _cpu(server) - cpu


def _cpu(server: Server) -> float:
    process = server.process.find()
    if process is None:
        raise SystemExit(f"the server ended; it said:\n{server.process.last_words()}")
    return time.process_time() + sum(
        each.cpu_times().user + each.cpu_times().system for each in (process, *process.children(recursive=True))
    )


@retried("{item}")
def nothing_much(shared: None, item: int) -> int:
    """A task that costs what every task costs."""
    return item


@flow
def many(tasks: int, limit: int) -> str:
    """Run the tasks as `label` runs its parts; gives the id of this run."""
    for _ in in_flight(nothing_much, None, range(tasks), limit):
        pass
    return str(flow_run.id)


def burst(server: Server, tasks: int, limit: int) -> dict[str, float]:
    """How fast quick tasks run, and how long after the run the server has recorded the last of them as completed."""
    began, cpu = time.perf_counter(), _cpu(server)
    run = many(tasks, limit)
    ended = time.perf_counter()
    behind = tasks - completed(server, run)
    while completed(server, run) < tasks:
        if time.perf_counter() - ended > RECORDED_S:
            raise SystemExit(f"{completed(server, run)} of {tasks} task runs are recorded after {RECORDED_S:.0f} s")
        time.sleep(0.2)
    recorded = time.perf_counter()
    return {
        "tasks": tasks, "in flight": limit, "s": ended - began, "tasks/s": tasks / (ended - began),
        "CPU s a task": (_cpu(server) - cpu) / tasks, "not recorded at the end": behind,
        "all recorded after s more": recorded - ended,
    }  # fmt: skip


def completed(server: Server, run: str) -> int:
    """Task runs of a flow run that the server knows as completed."""
    body = {"task_runs": {"flow_run_id": {"any_": [run]}, "state": {"type": {"any_": ["COMPLETED"]}}}}
    return httpx.post(f"{server.url}/task_runs/count", json=body, timeout=60).raise_for_status().json()


def complaints(log: Path) -> dict[str, int]:
    """What the server's log says of its requests and of SQLite, over the whole benchmark."""
    text = log.read_text(encoding="utf-8", errors="replace")
    answers = Counter(re.findall(r'HTTP/1\.1" (\d)\d\d', text))
    if not answers["2"]:
        raise SystemExit(f"the server's log names no request, so that it proves nothing; it ends:\n{text[-2000:]}")
    return {
        "requests": answers.total(), "answered with 5xx": answers["5"],
        "'database is locked'": text.count("database is locked"),
    }  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, default=24, help=f"of the manifest, {PAIRS_A_PART} pairs each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=2000, help="of the burst")
    parser.add_argument("--limit", type=int, default=8, help="tasks of the burst in flight at a time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
