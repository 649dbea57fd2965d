"""A frozen language model that two processes hold together."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ivm_model.engine.frozen_sharding import split_frozen
from ivm_model.engine.processes import join_processes
from ivm_model.model.masking_model import MaskingModel, ModelConfig
from storage.errors import ConfigError

PROGRAM = """
import json, sys
import torch
from torch.distributed.tensor import DTensor
from ivm_model.model.masking_model import MaskingModel, ModelConfig
from ivm_model.engine.processes import join_processes
from ivm_model.engine.frozen_sharding import split_frozen, whole

sam, lmm, vision, out = sys.argv[1:]
accelerator = join_processes()
torch.manual_seed(0)
model = MaskingModel(ModelConfig(sam, lmm)).eval()
split_frozen(model, accelerator)
rank, vision_BTC = accelerator.process_index, torch.load(vision)
read = lambda: model.lmm.read(["Find the red square ."], vision_BTC, "generator").last.detach()
with torch.no_grad():
    first = read()
    with whole(model):
        again = [read() for _ in range(1 + rank)]
    last = read()
split = {name: value for name, value in model.named_parameters() if isinstance(value, DTensor)}
facts = {
    "states": [state.tolist() for state in (first, *again, last)],
    "split": {name: [value.numel(), value.to_local().numel()] for name, value in split.items()},
    "trained": [name for name in model.trained_parameters() if name in split],
    "report": model.parameter_report(),
}
open(f"{out}-{rank}.json", "w").write(json.dumps(facts))
"""


@pytest.mark.slow
def test_each_process_holds_its_share_and_reads_the_same(bases, model, tmp_path):
    vision_BTC = model.lmm.see([torch.full((64, 64, 3), 99, dtype=torch.uint8).numpy()])
    torch.save(vision_BTC, tmp_path / "vision.pt")
    (tmp_path / "split.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    given = [bases.sam, bases.lmm, str(tmp_path / "vision.pt"), str(tmp_path / "facts")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [*command, str(tmp_path / "split.py"), *given], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    facts = [json.loads((tmp_path / f"facts-{rank}.json").read_text()) for rank in (0, 1)]
    expected = model.lmm.read(["Find the red square ."], vision_BTC, "generator").last.detach()
    for rank, each in enumerate(facts):
        assert len(each["states"]) == 3 + rank
        torch.testing.assert_close(torch.tensor(each["states"]), expected.expand(3 + rank, *expected.shape))
        assert each["trained"] == [] and each["report"] == model.parameter_report()
    frozen = {name for name, value in model.named_parameters() if ".layers." in name and "language_model" in name}
    frozen -= model.trained_parameters().keys()
    assert facts[0]["split"].keys() == frozen
    for name in frozen:
        (size, first), (_, second) = (each["split"][name] for each in facts)
        assert first + second == size and max(first, second) <= size / 2 + 32


def test_a_single_process_has_nobody_to_share_with(bases):
    with pytest.raises(ConfigError, match=r"'run\.shard' splits the LMM over processes"):
        split_frozen(MaskingModel(ModelConfig(bases.sam, bases.lmm)), join_processes())
