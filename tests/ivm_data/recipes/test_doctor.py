"""What `ivm doctor` finds on a machine that has the embedded experts and nothing else."""

import json
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from ivm_data.cli.app import app
from ivm_data.experts.registry import EMBEDDED, ExpertSpec
from ivm_data.recipes.doctor import examine, totals, versions
from ivm_data.recipes.labeling_recipes import recipe
from ivm_model.model.base_models import checkpoint_name


@pytest.fixture(autouse=True)
def empty_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_the_embedded_experts_are_ready_and_weigh_what_their_files_weigh():
    findings = examine(recipe("demo"))
    assert {finding.state for finding in findings} == {"ready"}
    grounder = next(finding for finding in findings if finding.role == "grounders.0")
    assert grounder.what == "zoo:grounder" and 4 < grounder.memory_mib <= grounder.mib < 6


def test_half_precision_takes_half_the_memory():
    whole, half = (
        next(f.memory_mib for f in examine(recipe("demo", {"verifier.options.dtype": dtype})) if f.role == "verifier")
        for dtype in ("float32", "float16")
    )
    assert half == pytest.approx(whole / 2, rel=0.01)


def test_what_is_missing_comes_with_the_command_that_gets_it():
    advice = {finding.what: finding.remedy for finding in examine(recipe("card")) if finding.state == "missing"}
    assert advice["llava-hf/llava-1.5-7b-hf"] == "hf download llava-hf/llava-1.5-7b-hf"
    assert advice["weights/sam_vit_h_4b8939.pth"].startswith(
        "curl -L --fail --create-dirs -o weights/sam_vit_h_4b8939.pth"
    )


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
    assert finding.remedy == "1 weight files are not there, first 'model.safetensors'; hf download org/lmm"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_device_is_named_with_the_option_that_does_without():
    asked = examine(recipe("modern", {"proposers.0.options.device": "cuda"}))
    (broken,) = [finding for finding in asked if finding.state == "broken"]
    assert broken.role == "proposers.0" and "--set proposers.0.options.device=cpu" in broken.remedy
    assert {finding.state for finding in examine(recipe("modern"))} == {"missing"}


def test_the_weights_of_autocast_experts_stay_whole_in_half_precision():
    whole, half = (
        next(f.memory_mib for f in examine(recipe("demo", {"segmenter.options.dtype": d})) if f.role == "segmenter")
        for d in ("float32", "bfloat16")
    )
    assert whole == half > 2


def test_a_default_that_the_recipe_does_not_name_is_needed_too(tmp_path):
    name = "google-bert/bert-base-uncased"
    (encoder,) = [finding for finding in examine(recipe("card")) if finding.what == name]
    assert encoder.state == "missing" and encoder.remedy.startswith(f"hf download {name} config.json tokenizer")
    for file in ("config.json", "vocab.txt"):
        (tmp_path / file).write_text("{}")
    changed = recipe("card", {"grounders.0.options.text_encoder": str(tmp_path)})
    (encoder,) = [finding for finding in examine(changed) if finding.what == str(tmp_path)]
    assert encoder.state == "ready" and encoder.memory_mib == 0


PAGE = b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>" * 20


@pytest.mark.parametrize(
    ("content", "wrong"),
    [(PAGE, "is no torch file: it begins with b'<!DOCTYPE html>"), (b"", "is no torch file"), (b"cut", "is cut")],
)
def test_a_page_saved_as_weights_and_a_cut_file_are_not_ready(tmp_path, content, wrong):
    file = tmp_path / "sam_vit_h_4b8939.pth"
    torch.save({"w": torch.zeros(5000)}, file)
    file.write_bytes(file.read_bytes()[:9000] if content == b"cut" else content)
    (finding,) = [f for f in examine(recipe("card", {"segmenter.options.path": str(file)})) if f.role == "segmenter"]
    assert finding.state == "broken" and wrong in finding.advice and f"-o {file} https://" in finding.command


def test_a_file_of_torch_is_ready(tmp_path):
    for name, old in (("new.pth", False), ("old.pth", True)):
        torch.save({"w": torch.zeros(5000)}, tmp_path / name, _use_new_zipfile_serialization=not old)
        changed = recipe("card", {"segmenter.options.path": str(tmp_path / name)})
        (finding,) = [f for f in examine(changed) if f.role == "segmenter"]
        assert finding.state == "ready"


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (PAGE, "is no safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "is no safetensors file"),
        (None, "bytes of"),
    ],
)
def test_a_pointer_a_page_and_a_cut_download_are_no_safetensors(downloaded, content, wrong):
    file = downloaded / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    finding = lmm_from_hub()
    assert finding.state == "broken" and wrong in finding.advice and "hf download org/lmm" in finding.command


def test_what_is_missing_is_reported_with_its_size():
    sizes = {finding.what: finding.mib for finding in examine(recipe("card")) if finding.state == "missing"}
    assert sizes["weights/sam_vit_h_4b8939.pth"] == pytest.approx(2_446, rel=0.01)
    assert sizes["llava-hf/llava-1.5-7b-hf"] == pytest.approx(13_472, rel=0.01)
    for name in ("card", "modern", "open", "small"):
        assert all(finding.mib is not None for finding in examine(recipe(name))), name


def on_a_gpu(name):
    """A recipe as it is placed on a GPU with bfloat16."""
    made = recipe(name)

    def placed(spec):
        return replace(spec, options={**spec.options, "device": "cuda", "dtype": "bfloat16"})

    specs = {role: placed(getattr(made, role)) for role in ("rewriter", "segmenter", "verifier")}
    return replace(
        made, **specs, grounders=tuple(map(placed, made.grounders)), proposers=tuple(map(placed, made.proposers))
    )


@pytest.mark.parametrize(("name", "gigabytes"), [("small", 8), ("modern", 24), ("open", 24), ("card", 24)])
def test_a_recipes_weights_fit_the_gpu_that_it_is_for(name, gigabytes):
    findings = [f for f in examine(on_a_gpu(name)) if f.state == "missing"]
    (total,) = totals(findings)
    assert (total.device, total.unknown) == ("cuda", 0)
    assert 0.3 * gigabytes < total.weights_mib / 1024 < 0.8 * gigabytes


def test_one_model_in_two_roles_is_loaded_once():
    both = examine(recipe("small"))
    alone = examine(recipe("small", {"verifier.options.batch": 2}))
    (once,), (twice,) = totals(both), totals(alone)
    lmm = next(finding.memory_mib for finding in both if finding.role == "verifier")
    assert twice.weights_mib == pytest.approx(once.weights_mib + lmm)


def test_a_total_that_does_not_fit_says_so_with_the_recipe_that_may(monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 1024)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1 and "too little: take --recipe small" in result.output


def test_a_gated_model_is_reported_with_its_licence_and_login_and_open_recipes_have_none():
    advice = {finding.what: finding.remedy for finding in examine(recipe("modern"))}
    assert advice["facebook/sam3"].startswith("hf auth login && hf download facebook/sam3")
    assert "licence is accepted on huggingface.co/facebook/sam3" in advice["facebook/sam3"]
    for name in ("open", "small", "card"):
        assert not any("auth login" in finding.command for finding in examine(recipe(name)))


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
    assert advice in found[0].advice and found[1].command == "hf download org/clip"


def test_a_server_is_not_asked():
    states = {finding.role: finding.state for finding in examine(recipe("remote-lmm"))}
    assert states["verifier"] == states["rewriter"] == "not asked"


def test_versions_tell_what_is_installed():
    assert versions()["torch"] == torch.__version__.split("+")[0] or versions()["torch"] == torch.__version__


def test_the_command_fails_where_something_is_missing():
    runner = CliRunner()
    assert runner.invoke(app, ["doctor"]).exit_code == 0
    result = runner.invoke(app, ["doctor", "--recipe", "card"])
    assert result.exit_code == 1 and "\nhf download llava-hf/llava-1.5-7b-hf\n" in result.stdout
    assert not result.stderr


def test_the_commands_alone_are_a_script_and_advice_goes_elsewhere(tmp_path):
    torn = tmp_path / "sam_vit_b_01ec64.pth"
    torn.write_text("<html>not found</html>")
    words = ["doctor", "--recipe", "card", "--set", f"segmenter.options.path={torn}"]
    result = CliRunner().invoke(app, [*words, "--commands"])
    script = result.stdout.splitlines()
    assert result.exit_code == 1 and script and all(line.startswith(("hf ", "curl ")) for line in script)
    assert any(str(torn) in line for line in script) and "HTML" in result.stderr.upper()
    assert subprocess.run(["sh", "-n"], input=result.stdout, text=True, check=False).returncode == 0
    full = CliRunner().invoke(app, words)
    assert f"ivm doctor {' '.join(words[1:])} --commands | sh" in full.stdout.replace("'", "")
    ready = CliRunner().invoke(app, ["doctor", "--commands"])
    assert (ready.exit_code, ready.stdout) == (0, "")
    assert "ivm label --recipe demo --images" in CliRunner().invoke(app, ["doctor"]).stdout
