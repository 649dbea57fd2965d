"""Fuzz every target, each in a process of its own, and count by outcome.

    python tests/fuzz/fuzz.py --examples 500 --seed 0 [--target=NAME ...]

Prints a line a target and the first inputs that must not be; the exit status is 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from harness import GOOD, NEVER, SECONDS, Result, fuzz
from targets import TARGETS

ALLOWED_S = 3600
"""Of one target; one that does not come back by then hangs where no signal reaches it."""

MOST_MEMORY = 8 << 30
"""Bytes of address space of a target's process: what takes more ends with MemoryError, not with this machine."""


def main() -> int:
    """Run the targets named, or one of them here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", default=[])
    parser.add_argument("--here", action="store_true", help="run the first target in this process")
    args = parser.parse_args()
    if args.here:
        result = _here(args.target[0], args.examples, args.seed)
        print(json.dumps([dict(result.counts), result.failures]))
        return 0
    bad = 0
    print(f"{'target':30}{'inputs':>8}" + "".join(f"{kind:>11}" for kind in (*GOOD, *NEVER)) + f"{'seconds':>9}")
    for name in args.target or [target.name for target in TARGETS]:
        began = time.monotonic()
        result = _apart(name, args.examples, args.seed)
        counts = [result.counts[kind] for kind in (*GOOD, *NEVER)]
        seconds = time.monotonic() - began
        print(
            f"{name:30}{sum(counts):>8}" + "".join(f"{count:>11}" for count in counts) + f"{seconds:>9.0f}", flush=True
        )
        for failure in result.failures:
            print(failure, flush=True)
        bad += sum(result.counts[kind] for kind in NEVER)
    return int(bad > 0)


def _here(name: str, examples: int, number: int) -> Result:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    (target,) = (target for target in TARGETS if target.name == name)
    with tempfile.TemporaryDirectory() as folder:
        return fuzz(target, Path(folder), examples, number, SECONDS)


def _apart(name: str, examples: int, number: int) -> Result:
    command = [sys.executable, __file__, "--here", f"--target={name}", f"--examples={examples}", f"--seed={number}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ALLOWED_S, check=False)
    except subprocess.TimeoutExpired:
        return Result(Counter(hang=1), [f"hang: no end after {ALLOWED_S} s"])
    if done.returncode:
        return Result(Counter(crash=1), [f"crash: status {done.returncode}\n{done.stderr[-2000:]}"])
    counts, failures = json.loads(done.stdout.splitlines()[-1])
    return Result(Counter(counts), failures)


if __name__ == "__main__":
    sys.exit(main())
