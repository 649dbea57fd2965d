"""Labels in forks of one process that has its experts loaded: `python labeler.py MANIFEST LMM_URL [ray]`.

Each line on stdin is a data folder; a fork labels into it. Its pid comes back, and its exit status when it has ended.
"""

import os
import sys
import time
import traceback
from pathlib import Path

import openai  # noqa: F401 - before the forks, which would each take a second for it
import torch

from ivm_data.engine.labeling import label_part
from ivm_data.engine.labeling_run import prepare
from ivm_data.engine.ray_config import RayConfig
from ivm_data.engine.ray_engine import label_manifest
from ivm_data.experts.registry import get
from ivm_data.recipes.labeling_recipes import recipe
from storage.errors import TransientError

PART_SIZE = 3
RAY = RayConfig(local_cpus=2, store_mib=300, retry_s=0.5)


def chosen(lmm_url):
    """The embedded experts, with the rewriter and the verifier behind a server."""
    options = {"base_url": lmm_url, "model": "shapes", "timeout_s": 1.0, "max_retries": 1, "concurrency": 2}
    lmm = {"expert": "openai", "options": options}
    return {"rewriter": lmm, "verifier": lmm, "batch_size": 2}


def label(manifest, data, lmm_url, engine):
    """Label what is open; as a flow does, try a part again whose failure may pass."""
    run = prepare(manifest, data, recipe("demo", chosen(lmm_url)), PART_SIZE)
    if engine == "ray":
        label_manifest(run, RAY)
        return
    for part in run.open_parts():
        for last in (False, False, True):
            try:
                label_part(run, part)
                break
            except TransientError:
                if last:
                    raise
                time.sleep(0.2)


def main():
    manifest, lmm_url, engine = Path(sys.argv[1]), sys.argv[2], "".join(sys.argv[3:])
    torch.set_num_threads(1)
    demo = recipe("demo")
    if engine != "ray":
        for spec in (*demo.grounders, demo.segmenter, *demo.proposers):
            get(spec)
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            # Ray prints where the harness reads.
            os.dup2(2, 1)
            try:
                label(manifest, Path(line.strip()), lmm_url, engine)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
