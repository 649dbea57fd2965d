"""Which LMM families of today `hf-lmm` loads, asks and shows whole images: `python -m benchmarks.lmm_families`.

Each is built in miniature with random weights (`benchmarks.lmm_checkpoints`), so nothing that they say means anything:
what is measured is the way into a model. `--processors` names another folder of published processor files.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks import lmm_checkpoints as checkpoints
from benchmarks.lmm_checkpoints import LLAVA
from benchmarks.lmm_tokenizers import QWEN
from ivm_data.experts.lmms import chat_messages
from ivm_data.experts.lmms.hf_lmm import HfLmm, LmmConfig
from ivm_data.experts.lmms.question import Question
from ivm_data.experts.lmms.whole_image import MAX_PIXELS
from storage.common.markdown import markdown_table

PROCESSORS = Path(__file__).parents[2] / "shared" / "data" / "processors"
"""Folder of published tokenizers, templates and preprocessing, where the checkout has one beside it."""


@dataclass(frozen=True)
class Family:
    """A family of LMMs.

    Attributes:
        name: as its makers write it.
        stands_for: hub id of a published model of this family, whose preprocessing is taken.
        build: writes the checkpoint into a folder, given the folder of published processors.
        needs: folder of `processors` without which it cannot be built; "" where there is none.
        tokenizer: where its tokenizer comes from, in words.
        prompt: what the published template makes of one image and the text "Q".
        template: "file": the published one is used; "copy": this one renders as public copies of the published one do;
            "unseen": it follows the makers' code and documentation, and no copy was at hand.
        packages: what the family's processor imports beyond the engine's own requirements.
    """

    name: str
    stands_for: str
    build: Callable[[Path, Path], None]
    needs: str
    tokenizer: str
    prompt: str
    template: Literal["file", "copy", "unseen"]
    packages: tuple[str, ...] = ()


_REAL, _GROWN, _MADE = "published", "Qwen's, with the family's tokens added", "made"
_CHATML = "<|im_start|>user\n{}Q<|im_end|>\n<|im_start|>assistant\n"
_VISION_PAD = "<|vision_start|><|image_pad|><|vision_end|>"
_GLM_IMAGE = "<|begin_of_image|><|image|><|end_of_image|>"
_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
FAMILIES = {
    family.name: family
    for family in (
        Family(
            "LLaVA-1.5",
            "llava-hf/llava-1.5-7b-hf",
            checkpoints.llava,
            LLAVA,
            _REAL,
            "USER: <image>\nQ ASSISTANT:",
            "file",
        ),
        Family(
            "LLaVA-OneVision",
            "llava-hf/llava-onevision-qwen2-7b-ov-hf",
            checkpoints.llava_onevision,
            QWEN,
            _GROWN,
            "<|im_start|>user <image>\nQ<|im_end|><|im_start|>assistant\n",
            "copy",
        ),
        Family(
            "Qwen2.5-VL",
            "Qwen/Qwen2.5-VL-7B-Instruct",
            checkpoints.qwen2_5_vl,
            QWEN,
            _REAL,
            _SYSTEM + _CHATML.format(_VISION_PAD),
            "file",
        ),
        Family(
            "Qwen3-VL",
            "Qwen/Qwen3-VL-8B-Instruct",
            checkpoints.qwen3_vl,
            QWEN,
            _REAL,
            _CHATML.format(_VISION_PAD),
            "copy",
        ),
        Family(
            "SmolVLM2",
            "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
            checkpoints.smolvlm2,
            "",
            _MADE,
            "<|im_start|>User:<image>Q<end_of_utterance>\nAssistant:",
            "copy",
            ("num2words",),
        ),
        Family(
            "Gemma 3",
            "google/gemma-3-4b-it",
            checkpoints.gemma3,
            "",
            _MADE,
            "<bos><start_of_turn>user\n<start_of_image>Q<end_of_turn>\n<start_of_turn>model\n",
            "copy",
        ),
        Family(
            "Gemma 4",
            "google/gemma-4-E4B-it",
            checkpoints.gemma4,
            "",
            _MADE,
            "<bos><|turn>user\n\n\n<|image|>\n\nQ<turn|>\n<|turn>model\n<|channel>thought\n<channel|>",
            "copy",
        ),
        Family(
            "InternVL3",
            "OpenGVLab/InternVL3-8B-hf",
            checkpoints.internvl,
            QWEN,
            _GROWN,
            _CHATML.format("<IMG_CONTEXT>\n"),
            "copy",
        ),
        Family(
            "GLM-4.1V",
            "zai-org/GLM-4.1V-9B-Thinking",
            checkpoints.glm4v,
            "",
            _MADE,
            f"[gMASK]<sop><|user|>\n{_GLM_IMAGE}Q<|assistant|>\n",
            "unseen",
        ),
        Family(
            "GLM-4.6V",
            "zai-org/GLM-4.6V-Flash",
            checkpoints.glm46v,
            "",
            _MADE,
            f"[gMASK]<sop><|user|>\n{_GLM_IMAGE}Q/nothink<|assistant|>\n<think></think>\n",
            "unseen",
        ),
        Family("Molmo 2", "allenai/Molmo2-8B", checkpoints.molmo2, QWEN, _GROWN, _CHATML.format("<|image|>"), "unseen"),
    )
}
"""By name."""


@dataclass(frozen=True)
class Measured:
    """What was seen of a family.

    Attributes:
        prompt: what its chat template makes of one image and the text "Q".
        yes, no: tokens that stand for an answer in its vocabulary.
        batch: greatest difference of the logit of P(yes), asked alone and in a batch of images of different sizes.
        spread: standard deviation of that logit over the images.
        bar: least change of its inputs when a bar is drawn along a side of an image, over the four sides.
        tokens: megapixels -> tokens of an image as the engine shows it, and as it is.
    """

    prompt: str
    yes: tuple[str, ...]
    no: tuple[str, ...]
    batch: float
    spread: float
    bar: float
    tokens: dict[float, tuple[int, int]]


SIZES = {0.3: (480, 640), 2.0: (1200, 1668), 12.0: (3000, 4000)}
"""Megapixels -> (height, width)."""
UNBOUND = 10**9
QUESTION = "Is there a red ring?"


def why_not(family: Family, processors: Path) -> str:
    """What is missing here to build it; "" where nothing is."""
    if family.needs and not (processors / family.needs).is_dir():
        return f"no published processor {family.needs!r} in '{processors}'"
    missing = [name for name in family.packages if importlib.util.find_spec(name) is None]
    return f"its processor imports {', '.join(missing)}, which is not installed" if missing else ""


def prompt_of(lmm: HfLmm) -> str:
    """What the chat template makes of one image and "Q"."""
    turn = lmm._conversation("", photo(8, 8), "Q")
    options = {"add_generation_prompt": True, "tokenize": False, **lmm._template}
    return str(lmm._processor.apply_chat_template(turn, **options))


def tokens(lmm: HfLmm, height: int, width: int, max_pixels: int) -> int:
    """Tokens that an image adds to a question."""
    shown, bare = (
        lmm._inputs(chat_messages.YES_NO, [Question("Q", image, max_pixels)])[0]["input_ids"].shape[1]
        for image in (photo(height, width), None)
    )
    return int(shown - bare)


def bar(lmm: HfLmm, height: int, width: int) -> float:
    """Least change of the model's inputs by a bar along one of an image's sides, a twelfth of it wide."""
    changes = []
    for side in range(4):
        images = [np.full((height, width, 3), 200, np.uint8) for _ in range(2)]
        turned = np.rot90(images[1], side)
        turned[: len(turned) // 12] = (255, 0, 0)
        plain, barred = (
            lmm._inputs("", [Question("Q", image_HWC, MAX_PIXELS)])[0]["pixel_values"] for image_HWC in images
        )
        changes.append(float((plain - barred).abs().max()))
    return min(changes)


def batch(lmm: HfLmm) -> tuple[float, float]:
    """Greatest difference of a logit alone and in a batch, and the logits' spread over the images."""
    images = [photo(300, 400), photo(120, 500, 1), photo(333, 222, 2)]
    questions = [QUESTION, "Is this a small striped green star?", QUESTION]
    together = _logit(lmm.p_yes(images, questions))
    alone = [_logit(lmm.p_yes([image], [question])) for image, question in zip(images, questions, strict=True)]
    return float(np.abs(together - np.concatenate(alone)).max()), float(np.std(together))


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Coarse noise, (height, width, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), np.uint8)
    rows, columns = np.linspace(0, 3.99, height).astype(int), np.linspace(0, 4.99, width).astype(int)
    return coarse[rows][:, columns]


def measure(lmm: HfLmm) -> Measured:
    """All of it."""
    lmm.load()
    difference, spread = batch(lmm)
    sizes = {
        megapixels: (tokens(lmm, *size, MAX_PIXELS), tokens(lmm, *size, UNBOUND)) for megapixels, size in SIZES.items()
    }
    yes, no = (tuple(lmm._tokenizer.decode([i]) for i in ids) for ids in (lmm._yes_ids, lmm._no_ids))
    return Measured(prompt_of(lmm), yes, no, difference, spread, min(bar(lmm, 300, 700), bar(lmm, 700, 300)), sizes)


def _logit(p_yes_N: np.ndarray) -> np.ndarray:
    p_N = p_yes_N.astype(np.float64)
    return np.asarray(np.log(p_N) - np.log1p(-p_N))


def rows(processors: Path) -> list[list[str]]:
    """The table's rows."""
    found = []
    for family in FAMILIES.values():
        if reason := why_not(family, processors):
            found.append([family.name, family.stands_for, f"not tried: {reason}", *[""] * 7])
            continue
        with tempfile.TemporaryDirectory() as folder:
            family.build(Path(folder), processors)
            seen = measure(HfLmm(LmmConfig(folder, batch=4)))
        is_prompt = "yes" if seen.prompt == family.prompt else "NO"
        sizes = [f"{bound:,} / {free:,}" for bound, free in seen.tokens.values()]
        answers = f"{len(seen.yes)} / {len(seen.no)}"
        found.append(
            [family.name, family.stands_for, family.tokenizer, f"{is_prompt} ({family.template})", answers,
             f"{seen.batch:.0e}", f"{seen.bar:.1f}", *sizes]
        )  # fmt: skip
    return found


HEADER = (
    "family", "stands for", "tokenizer", "prompt as published", "yes / no tokens", "batch against alone", "bar",
    *(f"tokens at {megapixels:g} MP" for megapixels in SIZES),
)  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processors", type=Path, default=PROCESSORS, help="folder of published processor files")
    print(markdown_table(list(HEADER), rows(parser.parse_args().processors)))


if __name__ == "__main__":
    main()
