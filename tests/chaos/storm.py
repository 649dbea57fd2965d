"""Break labeling runs at random moments: after each recovery the labels must be those of an undisturbed run.

    python tests/chaos/storm.py --rounds 60 --minutes 60

Prints a line a round and ends with counts for each fault; the exit status is 1 if any round went wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from faults import FAULTS, QUICK, SLOW, NotPossibleError, Round
from processes import Labeler, LmmServer, PrefectWorld

from ivm_data.worlds.world import write_world
from storage.catalog import Catalog
from storage.upkeep.digest import content_hash
from storage.upkeep.verify import verify

SCENES, PAIRS = 8, 3
QUICK_TO_SLOW = 2
"""Rounds of quick faults to one of a slow one, which starts Ray or Prefect."""


class Storm:
    """The processes that stay over the rounds, and the undisturbed run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "labeler.log"
        self.manifest = write_world(folder / "world", "val", scenes=SCENES, pairs_per_scene=PAIRS, human_share=0.5)
        self.lmm = LmmServer()
        self.labeler = cache(lambda: Labeler(self.manifest, self.lmm.url, self.log))
        self.ray = cache(lambda: Labeler(self.manifest, self.lmm.url, self.log, "ray"))
        self.prefect = cache(self._prefect)

    def undisturbed(self) -> None:
        """Label without a fault: what every round must end with."""
        for data in (self.folder / "warm-up", self.folder / "whole"):
            began = time.perf_counter()
            self.labeler().start(data)
            assert self.labeler().end() == 0, self.log.read_text()
            self.seconds = time.perf_counter() - began
        files = list(data.rglob("*.parquet"))
        self.parts = sum(path.name.endswith(".light.parquet") for path in files)
        self.bytes = sum(path.stat().st_size for path in files)
        self.hash = content_hash(data)

    def round(self, number: int, name: str, seed: int) -> str:
        """Break one run, run it again, compare; returns the outcome."""
        data = self.folder / f"round-{number}"
        context = Round(
            data, self.manifest, random.Random(seed), self.seconds, self.bytes, self.lmm, self.labeler(), self.ray,
            self.prefect,
        )  # fmt: skip
        try:
            FAULTS[name](context)
            torn = verify(data) if data.exists() else ()
            assert not torn, f"torn files: {torn}"
            kept = len(list(data.rglob("*.light.parquet")))
            self._recover(data)
            return f"{kept} of {self.parts} parts had been committed"
        finally:
            if data.is_mount():
                subprocess.run(["umount", data], check=True)

    def stop(self) -> None:
        for labeler in (self.labeler, self.ray):
            if labeler.cache_info().currsize:
                labeler().stop()
        if self.prefect.cache_info().currsize:
            self.prefect().down()
        self.lmm.kill()

    def _recover(self, data: Path) -> None:
        self.labeler().start(data)
        assert self.labeler().end() == 0, f"no recovery:\n{self.log.read_text()[-2000:]}"
        assert verify(data) == ()
        assert content_hash(data) == self.hash, "other labels than undisturbed"
        with Catalog(data) as catalog:
            (row,) = catalog.sql("select count(*) n, count(distinct sample_id) ids from outcomes").to_pylist()
        assert row == {"n": SCENES * PAIRS, "ids": SCENES * PAIRS}, f"lost or doubled: {row}"

    def _prefect(self) -> PrefectWorld:
        world = PrefectWorld(self.folder / "prefect")
        world.up()
        return world


def schedule(rounds: int, names: Sequence[str], rng: random.Random) -> list[str]:
    """Every named fault in turn; without names all of them, the slow ones seldom."""
    if names:
        return [names[i % len(names)] for i in range(rounds)]
    slow, quick = [f.__name__ for f in SLOW], [f.__name__ for f in QUICK]
    rng.shuffle(quick)
    return [
        slow[i // (QUICK_TO_SLOW + 1) % len(slow)]
        if i % (QUICK_TO_SLOW + 1) == QUICK_TO_SLOW
        else quick[i % len(quick)]
        for i in range(rounds)
    ]


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    counts: dict[str, Counter[str]] = {}
    until = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="ivm-chaos-") as folder:
        storm = Storm(Path(folder))
        try:
            storm.undisturbed()
            print(f"undisturbed: {storm.parts} parts, {storm.bytes} bytes, {storm.seconds:.1f} s", flush=True)
            for number, name in enumerate(schedule(options.rounds, options.faults, random.Random(options.seed))):
                if time.monotonic() > until:
                    print(f"time is up after {number} rounds")
                    break
                began = time.perf_counter()
                ended, detail = _one(storm, number, name, options.seed + number)
                counts.setdefault(name, Counter())[ended] += 1
                print(f"{number:3d} {name:24s} {ended:12s} {time.perf_counter() - began:5.1f} s  {detail}", flush=True)
        finally:
            storm.stop()
    print(json.dumps(counts))
    sys.exit(any(count["wrong"] for count in counts.values()))


def _one(storm: Storm, number: int, name: str, seed: int) -> tuple[str, str]:
    try:
        return "same labels", storm.round(number, name, seed)
    except NotPossibleError as error:
        return "not possible", str(error)
    except Exception:
        return "wrong", traceback.format_exc()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=60.0, help="no round begins after that")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", nargs="*", default=[], choices=FAULTS, help="only these, in turn")
    return parser.parse_args()


if __name__ == "__main__":
    main()
