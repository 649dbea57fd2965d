"""The release's file by command: `ivm mask --model`, and `ivm convert` to a folder that everything opens."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ivm_data import cli
from ivm_data.evaluation.systems import system
from ivm_data.experts.registry import ExpertSpec, get
from ivm_data.zoo.embedded import WEIGHTS
from ivm_model.model import paper
from ivm_model.model.masking_model import MaskingModel
from ivm_model.model.official import _official_name
from ivm_model.predictor import Predictor
from storage.records import Sample

SAM, LMM = str(WEIGHTS / "segmenter"), str(WEIGHTS / "lmm")
BASES = ("--set", f"sam={SAM}", "--set", f"lmm={LMM}")
SHARED = Path(__file__).parents[4] / "shared" / "tools" / "shrunk_checkpoints.py"
PEAK = """
import sys
from ivm_data import cli

sys.argv = ["ivm", *sys.argv[1:]]
try:
    cli.main()
except SystemExit as end:
    assert not end.code, end.code
with open("/proc/self/status") as status:
    print("peak", next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def release(folder, sam=SAM, lmm=LMM, extra=None):
    """A file in the release's layout for these base models, of random weights that move the answer."""
    torch.manual_seed(2)
    model = MaskingModel(paper.model_config(sam, lmm))
    tensors = {_official_name(name): value.detach().clone() for name, value in model.kept_tensors().items()}
    for name, value in tensors.items():
        if "lora_B" in name or "hypernetworks" in name:
            torch.nn.init.normal_(value, std=0.3)
    torch.save({**tensors, **(extra or {})}, folder / "IVM-V1.0.bin")
    return folder / "IVM-V1.0.bin"


@pytest.fixture
def ivm(monkeypatch, capfd, tmp_path):
    """Runs a command in a folder with a photograph; returns exit status, output and standard error."""
    noise_HWC = np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)
    Image.fromarray(noise_HWC).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ivm", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        said = capfd.readouterr()
        return exit_.value.code or 0, said.out, said.err

    return run


def test_a_photograph_is_masked_by_the_file_and_by_its_folder_alike(ivm, tmp_path):
    file = release(tmp_path)
    assert ivm("mask", "photo.png", "the red ring", "--model", file, *BASES, "--how", "blur")[0] == 0
    assert ivm("convert", file, "--out", "ours", *BASES)[0] == 0
    assert ivm("mask", "photo.png", "the red ring", "--model", "ours", "-o", "again.png", "--how", "blur")[0] == 0
    first, second = (np.asarray(Image.open(tmp_path / name)) for name in ("photo-masked.png", "again.png"))
    assert first.shape == (37, 53, 3) and (first != np.asarray(Image.open(tmp_path / "photo.png"))).any()
    np.testing.assert_array_equal(first, second)


def test_a_folder_of_photographs_is_masked_into_a_folder(ivm, tmp_path):
    file = release(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photo.png").rename(tmp_path / "photos" / "one.png")
    assert ivm("mask", "photos", "the red ring", "--model", file, *BASES)[0] == 0
    assert Image.open(tmp_path / "photos-masked" / "one.png").size == (53, 37)


def test_everything_that_opens_a_checkpoint_opens_a_converted_one_without_options(ivm, tmp_path):
    file = release(tmp_path)
    assert ivm("convert", file, "--out", "ours", *BASES)[0] == 0
    folder, image_HWC = tmp_path / "ours", np.asarray(Image.open(tmp_path / "photo.png"))
    words = "Find the red ring."
    whole_HW = Predictor.from_pretrained(file, SAM, LMM).heatmap(image_HWC, words)
    sample = Sample("a", (tmp_path / "photo.png").read_bytes(), "photo.png", 53, 37, words, "test")
    assert 0 < (whole_HW >= 0.5).mean() < 1
    (mask_HW,) = system(f"model:{folder}?threshold=0.5").masks([sample])
    np.testing.assert_array_equal(mask_HW, whole_HW >= 0.5)
    (proposed_HW,) = system(f"expert:ivm?path={folder}").masks([sample])
    np.testing.assert_array_equal(proposed_HW, whole_HW >= 0.5)
    card = (folder / "README.md").read_text()
    assert "converted from `IVM-V1.0.bin`" in card and "segmenter@" in card


def test_the_file_itself_is_a_system_and_not_an_expert(ivm, tmp_path):
    file = release(tmp_path)
    sample = Sample("a", (tmp_path / "photo.png").read_bytes(), "photo.png", 53, 37, "Find the red ring.", "test")
    (mask_HW,) = system(f"model:{file}?sam={SAM}&lmm={LMM}").masks([sample])
    assert mask_HW.shape == (37, 53)
    with pytest.raises(Exception, match="ivm convert FILE --out DIR"):
        get(ExpertSpec("ivm", {"path": str(file)}))


def test_only_a_folder_of_its_own_is_converted_into_again(ivm, tmp_path):
    file = release(tmp_path)
    assert ivm("convert", file, "--out", "ours", *BASES)[0] == 0
    assert ivm("convert", file, "--out", "ours", *BASES)[0] == 0
    facts = json.loads((tmp_path / "ours" / "config.json").read_text())
    trained = {**facts, "training": {"seed": 0}}
    (tmp_path / "ours" / "config.json").write_text(json.dumps(trained))
    status, _, error = ivm("convert", file, "--out", "ours", *BASES)
    assert status == 2 and "is not a checkpoint of 'ivm convert'" in error


def test_a_converted_folder_is_not_trained_over(ivm, tmp_path):
    assert ivm("convert", release(tmp_path), "--out", "ours", *BASES)[0] == 0
    status, _, error = ivm("train", "--data", "data", "--out", "ours")
    assert status == 2 and "is not a checkpoint of 'ivm train'" in error


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"<!doctype html><p>Sign in</p>", "is an HTML page"), (None, "is not there"), (b"PK\x03\x04torn", "is torn")],
)
@pytest.mark.parametrize("command", [("convert", "--out", "ours"), ("mask", "--model")])
def test_a_bad_file_is_one_clean_line(ivm, tmp_path, content, told, command):
    if content is not None:
        (tmp_path / "IVM-V1.0.bin").write_bytes(content)
    name, *rest = command
    arguments = ["IVM-V1.0.bin", *rest] if name == "convert" else ["photo.png", "a ring", *rest, "IVM-V1.0.bin"]
    status, _, error = ivm(name, *arguments, *BASES)
    assert status == 2 and told in error and "download the file IVM-V1.0.bin" in error
    assert "Traceback" not in error and not (tmp_path / "ours").exists()


def test_a_base_model_that_is_not_here_is_one_clean_line(ivm, tmp_path):
    file = release(tmp_path)
    status, _, error = ivm("mask", "photo.png", "a ring", "--model", file, "--set", f"sam={SAM}")
    assert status == 2 and "hf download llava-hf/llava-1.5-7b-hf" in error and "--set lmm=DIR" in error
    status, _, error = ivm("convert", file, "--out", "ours", "--set", "llm=x")
    assert status == 2 and "has no option 'llm' here; choose from sam, lmm, dtype" in error


@pytest.mark.slow
def test_a_file_with_the_base_models_in_it_costs_no_memory_for_them(tmp_path):
    """The file is mapped: 300 MB of frozen weights beside the trained ones are never read."""
    peaks = {}
    for megabytes in (0, 300):
        extra = {"image_encoder.blocks": torch.ones(megabytes << 18)} if megabytes else {}
        file = release(tmp_path, extra=extra)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, "convert", file, "--out", tmp_path / "ours", *BASES],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks[megabytes] = int(done.stdout.split()[-1]) / 1024
    assert file.stat().st_size > 300e6
    assert peaks[300] - peaks[0] < 30, peaks


@pytest.mark.slow
def test_the_release_runs_on_llavas_own_processor_and_file_layout(ivm, tmp_path, photos_dev):
    if not SHARED.is_file():
        pytest.skip("no shrunk_checkpoints.py: the checkout has no ../shared/tools beside it")
    spec = importlib.util.spec_from_file_location("shrunk_checkpoints", SHARED)
    shrunk = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shrunk)
    lmm = tmp_path / "llava-1.5-7b-hf"
    shrunk.save(
        lmm, "llava-1.5-7b", shrunk.LLAVA, shrunk.LlavaForConditionalGeneration, torch.float16, shrunk.llava_key, 3
    )
    file, bases = release(tmp_path, lmm=str(lmm)), ("--set", f"sam={SAM}", "--set", f"lmm={lmm}")
    assert ivm("convert", file, "--out", "ours", *bases)[0] == 0
    asked = ("What is on the left?", "--how", "blur")
    for photo in sorted((photos_dev / "images").iterdir())[:2]:
        assert ivm("mask", photo, *asked, "--model", file, *bases, "-o", "a.png")[0] == 0
        assert ivm("mask", photo, *asked, "--model", "ours", "-o", "b.png")[0] == 0
        first, second = (np.asarray(Image.open(tmp_path / name)) for name in ("a.png", "b.png"))
        np.testing.assert_array_equal(first, second)
