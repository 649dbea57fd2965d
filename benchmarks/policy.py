"""Do masks help a robot policy? Write docs/policy.md and its pictures.

    python -m benchmarks.policy

A small network learns from demonstrations to point at the thing that an instruction names ("pick"), or at the one that
it names first and at the other ("put"), and is then tested among distractors that no demonstration showed. Takes an
hour on one core. Masks and results stay in `--work`, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import arms as kept
from benchmarks import policy_page
from benchmarks.policy_found import Found
from benchmarks.policy_masks import masks
from benchmarks.policy_network import Policy, act, clone
from benchmarks.policy_scenes import CROWDS, TASKS, Crowd, Situation, Task, demonstrations, trials
from benchmarks.policy_success import succeeded
from benchmarks.policy_views import ARMS, Shown, trainings

PAGE = Path(__file__).parents[1] / "docs" / "policy.md"
_CHOICE = 1_000_003


def main() -> None:
    """Draw, mask, train, test, write the page."""
    options = _options()
    torch.set_num_threads(1)
    tested = {task: {crowd: _shown(trials(task, crowd, options.tests), options) for crowd in CROWDS} for task in TASKS}
    learned = cache(lambda task: _shown(demonstrations(task, max(options.demonstrations)), options))
    for seed, task in product(range(options.seeds), TASKS):
        train_seed(_path(task, options), partial(learned, task), tested[task], seed, options)
    found = {task: Found(tested[task], _results(_path(task, options)), options.seeds) for task in TASKS}
    policy_page.write(PAGE, found, options)
    print(PAGE.read_text())


def train_seed(
    path: Path, learned: Callable[[], Shown], tested: Mapping[Crowd, Shown], seed: int, options: argparse.Namespace
) -> None:
    """Every arm at every number of demonstrations that the file does not hold yet."""
    done = _results(path)
    for arm, count in trainings(options.demonstrations):
        name = f"{arm}/{count}/{seed}"
        if name in done:
            continue
        began = time.process_time()
        policy = train_one(learned(), arm, count, seed, options.steps)
        acted = {crowd: act(policy, one.views[arm], one.tokens) for crowd, one in tested.items()}
        right = {crowd: succeeded(points, tested[crowd].situations) for crowd, points in acted.items()}
        took = time.process_time() - began
        done[name] = {crowd: each.tolist() for crowd, each in right.items()} | {"seconds": took}
        kept.write(path, done)
        said = " ".join(f"{crowd} {each.mean():.3f}" for crowd, each in right.items())
        print(f"{time.strftime('%H:%M:%S')} {path.stem} {name}: {said} ({took:.1f} s)", flush=True)


def train_one(learned: Shown, arm: str, count: int, seed: int, steps: int) -> Policy:
    """A policy of `count` of the demonstrations, as the arm shows them."""
    chosen_N = torch.from_numpy(choice(len(learned.situations), count, seed))
    shown, words, points = (each[chosen_N] for each in (learned.views[arm], learned.tokens, learned.points))
    return clone(shown, words, points, steps * ARMS[arm].longer, seed)


def choice(available: int, count: int, seed: int) -> np.ndarray:
    """Which demonstrations a seed's policy learns from, whatever its arm; fewer are a part of more."""
    return np.random.default_rng([_CHOICE, seed]).permutation(available)[:count]


def _shown(situations: list[Situation], options: argparse.Namespace) -> Shown:
    return Shown(situations, masks(situations, options.work))


def _path(task: Task, options: argparse.Namespace) -> Path:
    """Its name says what decides a run beside its arm, demonstrations and seed."""
    most, work = max(options.demonstrations), Path(options.work)
    return work / f"{task}-of-{most}-{options.steps}-steps-{options.tests}-tests.json"


def _results(path: Path) -> dict[str, Any]:
    return kept.read(path) if path.exists() else {}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/policy"), help="folder for masks and results")
    parser.add_argument("--demonstrations", type=int, nargs="+", default=[30, 100, 300, 1000])
    parser.add_argument("--tests", type=int, default=200, help="test scenes of each task")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=250)
    return parser.parse_args()


if __name__ == "__main__":
    main()
