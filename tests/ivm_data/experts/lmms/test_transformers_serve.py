"""A model behind `transformers serve` against the same model in the process."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ivm_data.experts.lmms.hf_lmm import HfLmm, LmmConfig
from ivm_data.experts.lmms.openai_client import OpenAiConfig
from ivm_data.experts.lmms.openai_lmm import OpenAiLmm
from ivm_data.worlds.scene import draw_scene
from ivm_data.zoo.embedded import WEIGHTS


@pytest.fixture
def transformers_serve(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("transformers"), "serve", WEIGHTS / "lmm", "--port", str(port)]
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--device", "cpu"], env=environment, stdout=log, stderr=log
        )
    try:
        while process.poll() is None and socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.2)
        assert process.poll() is None, (tmp_path / "log").read_text()
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_model_behind_transformers_serve_answers_like_the_same_model_in_process(transformers_serve):
    options = {"votes": 1, "instructed": False, "timeout_s": 300, "image_format": "png"}
    config = OpenAiConfig(transformers_serve, str(WEIGHTS / "lmm"), **options)
    far, near = OpenAiLmm(config), HfLmm(LmmConfig(str(WEIGHTS / "lmm")))
    far.load()
    instructions = [
        "Find the red ring.",
        "Put the big striped circle on the small green star.",
        "Where is the star that is to the left of the small blue square?",
    ]
    assert far.rewrite(instructions) == near.rewrite(instructions)
    images = [draw_scene("val", index).image_HWC for index in range(12)]
    questions = ["Is there a ring?", "Is there a small red star?", "Is there a green square?"] * 4
    counting = ["How many rings are there?"] * 12
    assert far.answer(images, counting) == near.answer(images, counting)
    near_N = near.p_yes(images, questions)
    sure = abs(near_N - 0.5) > 0.05
    assert sure.sum() >= 6 and (near_N[sure] > 0.5).any() and (near_N[sure] < 0.5).any()
    np.testing.assert_array_equal(far.p_yes(images, questions)[sure] > 0.5, near_N[sure] > 0.5)
    assert far.usage.requests > 15 and far.usage.prompt_tokens > far.usage.completion_tokens > 0
