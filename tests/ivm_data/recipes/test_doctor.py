"""What `ivm doctor` finds on a machine that has the embedded experts and nothing else."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from ivm_data.cli.app import app
from ivm_data.experts.registry import EMBEDDED, ExpertSpec
from ivm_data.recipes.doctor import examine, versions
from ivm_data.recipes.labeling_recipes import recipe
from ivm_model.model.base_models import checkpoint_name


@pytest.fixture(autouse=True)
def empty_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_the_embedded_experts_are_ready_and_weigh_what_their_files_weigh():
    findings = examine(recipe("demo"))
    assert {finding.state for finding in findings} == {"ready"}
    grounder = next(finding for finding in findings if finding.role == "grounder")
    assert grounder.what == "zoo:grounder" and 4 < grounder.memory_mib <= grounder.mib < 6


def test_half_precision_takes_half_the_memory():
    whole, half = (
        next(f.memory_mib for f in examine(recipe("demo", {"grounder.options.dtype": dtype})) if f.role == "grounder")
        for dtype in ("float32", "float16")
    )
    assert half == pytest.approx(whole / 2, rel=0.01)


def test_what_is_missing_comes_with_the_command_that_gets_it():
    advice = {finding.what: finding.advice for finding in examine(recipe("card")) if finding.state == "missing"}
    assert advice["llava-hf/llava-1.5-7b-hf"] == "hf download llava-hf/llava-1.5-7b-hf"
    assert advice["weights/sam_vit_h_4b8939.pth"].startswith("curl -L --create-dirs -o weights/sam_vit_h_4b8939.pth")


@pytest.fixture
def downloaded(tmp_path):
    """The embedded LMM in the hub's cache, as a sharded checkpoint with all of its files."""
    folder = tmp_path / "hub" / "models--org--lmm"
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = folder / "snapshots" / commit
    shutil.copytree(EMBEDDED / "lmm", snapshot)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    weight_map = {"a": "model.safetensors", "b": "model.safetensors"}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return snapshot


def lmm_from_hub():
    (finding,) = [f for f in examine(recipe("demo", {"verifier.options.path": "org/lmm"})) if f.role == "verifier"]
    return finding


def test_a_downloaded_checkpoint_is_found_and_named_by_its_commit(downloaded):
    assert lmm_from_hub().state == "ready"
    assert checkpoint_name("org/lmm") == checkpoint_name("org/lmm", "main") == "org/lmm@0123456789ab"
    assert checkpoint_name("org/other") == "org/other@main"


def test_a_download_that_was_cut_is_reported_from_a_whole_one(downloaded):
    (downloaded / "model.safetensors").unlink()
    finding = lmm_from_hub()
    assert finding.state == "broken"
    assert finding.advice == "1 weight files are not there, first 'model.safetensors'; hf download org/lmm"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_device_is_named_with_the_option_that_does_without():
    broken = {finding.role: finding.advice for finding in examine(recipe("modern")) if finding.state == "broken"}
    assert "--set proposers.0.options.device=cpu" in broken["proposers.0"]
    without = {f"{role}.options.device": "cpu" for role in ("rewriter", "grounder", "segmenter", "verifier")}
    changed = examine(recipe("modern", {**without, "proposers.0.options.device": "cpu"}))
    assert {finding.state for finding in changed} == {"missing"}


def test_an_option_that_the_expert_does_not_have_is_reported():
    changed = recipe("demo", {"segmenter.options.pathh": "x"})
    (finding,) = [f for f in examine(changed) if f.role == "segmenter" and f.state == "broken"]
    assert "no option 'pathh'" in finding.advice


@pytest.mark.parametrize(
    ("options", "parts", "advice"),
    [
        ({"threshhold": 0.5}, ("segmenter",), "no option 'threshhold'"),
        ({}, ("segmenter", "verifier"), "is made of segmenter, got segmenter, verifier"),
        ({}, (), "is made of segmenter, got none"),
    ],
)
def test_a_mistake_about_an_expert_that_is_made_of_others_is_reported(options, parts, advice):
    demo = recipe("demo")
    spec = ExpertSpec("sam-clip", {"path": "org/clip", **options}, dict.fromkeys(parts, demo.segmenter))
    found = [f for f in examine(replace(demo, proposers=(spec,))) if f.role == "proposers.0"]
    assert [finding.state for finding in found] == ["broken", "missing"]
    assert advice in found[0].advice and found[1].advice == "hf download org/clip"


def test_a_server_is_not_asked():
    states = {finding.role: finding.state for finding in examine(recipe("remote-lmm"))}
    assert states["verifier"] == states["rewriter"] == "not asked"


def test_versions_tell_what_is_installed():
    assert versions()["torch"] == torch.__version__.split("+")[0] or versions()["torch"] == torch.__version__


def test_the_command_fails_where_something_is_missing():
    runner = CliRunner()
    assert runner.invoke(app, ["doctor"]).exit_code == 0
    result = runner.invoke(app, ["doctor", "--recipe", "card"])
    assert result.exit_code == 1 and "hf download llava-hf/llava-1.5-7b-hf" in result.output
