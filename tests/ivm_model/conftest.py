"""Tiny random base models in the real formats, and a tiny data set with exact masks."""

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SamConfig,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
)
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from ivm_model.data.row_reader import RowReader
from ivm_model.data.training_index import TrainingIndex, index_rows
from ivm_model.data.training_rows import RowsConfig, TrainingRow
from ivm_model.model.masking_model import MaskingModel, ModelConfig
from ivm_model.train.trainer import TrainConfig
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.records import MISSING, Label, Lineage, PartResult, Sample, Scores, Status, sample_id
from storage.request import Request
from storage.tables import reviews
from storage.tables.decisions import FoundLabel, decide

TRAIN = """
import json, pickle, sys
from ivm_model.train.trainer import train_dwsl

config = pickle.load(open(sys.argv[1], "rb"))
report = train_dwsl(config)
(config.out / "losses.json").write_text(json.dumps(report.loss))
"""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone")
SIDE = 64
COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 80, 230)}
WORDS = ("<pad>", "<s>", "<unk>", "<image>", "ANSWER", "Find", "the", "square", ".", "ok", "?", *COLOURS)
CHAT = (
    "<s> {% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %} {{ part['text'] }}{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %} ANSWER{% endif %}"
)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Bases:
    """Directories of a SAM and an LMM with random weights."""

    sam: str
    lmm: str


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    root = tmp_path_factory.mktemp("bases")
    torch.manual_seed(0)
    _save_sam(root / "sam")
    _save_lmm(root / "lmm")
    return Bases(str(root / "sam"), str(root / "lmm"))


@pytest.fixture(scope="session")
def modern_bases(tiny, tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """A SAM 2 and a Qwen3-VL with random weights."""
    root = tmp_path_factory.mktemp("modern-bases")
    tiny.sam2(root / "sam", SIDE)
    tiny.qwen3_vl(root / "lmm")
    return Bases(str(root / "sam"), str(root / "lmm"))


@pytest.fixture
def model(bases: Bases) -> MaskingModel:
    torch.manual_seed(0)
    return MaskingModel(ModelConfig(bases.sam, bases.lmm)).eval()


@pytest.fixture(scope="session")
def make_label() -> Callable[..., Label]:
    return _label


@pytest.fixture(scope="session")
def labels() -> list[Label]:
    """30 images of two squares: 10 with human masks, 20 with held-out truth; most machine labels are wrong."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(30):
        image_HWC, masks = _scene(rng)
        colour, other = masks
        is_human = i % 3 == 0
        wrong = i % 9 != 1
        made.append(
            _label(
                image_HWC,
                f"Find the {colour} square .",
                machine=masks[other] if wrong else masks[colour],
                human=masks[colour],
                held_out=not is_human,
                verification=0.3 if wrong else 0.8,
            )
        )
    return made


@dataclass(frozen=True)
class Rows:
    """The rows of an index, whole, each split in the order of the sample ids."""

    human: tuple[TrainingRow, ...]
    machine: tuple[TrainingRow, ...]
    test: tuple[TrainingRow, ...]

    @property
    def train(self) -> tuple[TrainingRow, ...]:
        return self.human + self.machine


def _read(index: TrainingIndex) -> Rows:
    problems: dict[str, str] = {}
    parts = [RowReader(index.of(split), 2).stream(problems) for split in ("human", "machine", "test")]
    rows = Rows(*(tuple(sorted(part, key=lambda row: row.sample_id)) for part in parts))
    assert not problems
    return rows


@pytest.fixture(scope="session")
def read_rows() -> Callable[[TrainingIndex], Rows]:
    return _read


@pytest.fixture
def commit(tmp_path: Path) -> Callable[..., Path]:
    """Labels become a data set of one part, in a folder of its own."""

    def committed(labels: list[Label], name: str = "committed") -> Path:
        commit_part(tmp_path / name, PartResult("part-0", "recipe", tuple(labels)))
        return tmp_path / name

    return committed


@pytest.fixture
def split(commit, read_rows) -> Callable[..., Rows]:
    """Labels become a data set, and that the rows of a training."""

    def rows(labels: list[Label], config: RowsConfig) -> Rows:
        return read_rows(index_rows(commit(labels, f"split-{len(labels)}-{abs(hash(config))}"), config))

    return rows


@pytest.fixture(scope="session")
def index(labels: list[Label], tmp_path_factory: pytest.TempPathFactory) -> TrainingIndex:
    """10 human rows; the others are machine rows, or only score."""
    data = tmp_path_factory.mktemp("index") / "data"
    commit_part(data, PartResult("part-0", "recipe", tuple(labels)))
    return index_rows(data, RowsConfig(test_share=0.3))


@pytest.fixture(scope="session")
def rows(index: TrainingIndex) -> Rows:
    return _read(index)


@pytest.fixture
def data(labels: list[Label], tmp_path: Path) -> Path:
    commit_part(tmp_path / "data", PartResult("part-0", "recipe", tuple(labels)))
    return tmp_path / "data"


@pytest.fixture
def grow(labels: list[Label]) -> Callable[[Path], None]:
    """Another part of labels, a review and a decision about old ones: what may happen while a training is down."""

    def later(data: Path) -> None:
        more = [replace(label, sample=replace(label.sample, id=f"new-{label.sample.id}")) for label in labels[:9]]
        commit_part(data, PartResult("part-1", "recipe", tuple(more)))
        first, second = (label.sample.id for label in labels[1:3])
        reviews.append(data, "recipe", first, "someone", "wrong_instruction")
        decide(data, "rule", "sample", "exclude", [FoundLabel("recipe", second, "seen")], parameters={}, who="test")

    return later


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen]:
    """Trains in another process, or in several; the losses of each step are `losses.json` beside the checkpoint."""
    program = tmp_path / "train.py"
    program.write_text(TRAIN)

    def begin(config: TrainConfig, processes: int = 1) -> subprocess.Popen:
        (tmp_path / "config.pickle").write_bytes(pickle.dumps(config))
        launcher = (*TORCHRUN, f"--nproc_per_node={processes}") if processes > 1 else ()
        return subprocess.Popen(
            [sys.executable, *launcher, str(program), str(tmp_path / "config.pickle")],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def _scene(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    image_HWC = rng.integers(90, 130, (SIDE, SIDE, 3), np.uint8)
    masks = {}
    for colour, x in zip(rng.permutation(list(COLOURS))[:2], (4, 36), strict=True):
        mask_HW = np.zeros((SIDE, SIDE), bool)
        y = int(rng.integers(4, 40))
        mask_HW[y : y + 20, x : x + 20] = True
        image_HWC[mask_HW] = COLOURS[colour]
        masks[str(colour)] = mask_HW
    return image_HWC, masks


def _label(
    image_HWC: np.ndarray,
    instruction: str,
    machine: np.ndarray,
    human: np.ndarray | None = None,
    held_out: bool = False,
    status: Status = Status.ACCEPTED,
    source: str = "squares",
    verification: float = 0.5,
) -> Label:
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, "PNG")
    image, (height, width) = file.getvalue(), image_HWC.shape[:2]
    sample = Sample(
        sample_id(image, instruction),
        image,
        "image.png",
        width,
        height,
        instruction,
        source,
        kind="attribute",
        human_mask=None if human is None else rle.encode(human),
        held_out=held_out,
    )
    return Label(
        sample=sample,
        request=Request.of(("square",)),
        candidates=(),
        proposals=(),
        mask=rle.encode(machine),
        scores=Scores(verification=verification, quality=verification),
        status=status,
        reason="ok",
        lineage=Lineage("recipe", ()),
        human_iou=MISSING if human is None else rle.iou(rle.encode(machine), rle.encode(human)),
    )


def _save_sam(folder: Path) -> None:
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=32,
            mlp_dim=64,
            output_channels=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIDE,
            patch_size=8,
            window_size=4,
            global_attn_indexes=[1],
            num_pos_feats=16,
            initializer_range=0.05,
        ).to_dict(),
        prompt_encoder_config=SamPromptEncoderConfig(hidden_size=32, image_size=SIDE, patch_size=8).to_dict(),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=32, mlp_dim=64, num_attention_heads=2, num_multimask_outputs=1, iou_head_hidden_dim=32
        ).to_dict(),
        initializer_range=0.05,
    )
    sam = SamModel(config)
    for embedding in (sam.shared_image_embedding, sam.prompt_encoder.shared_embedding):
        torch.nn.init.normal_(embedding.positional_embedding)
    sam.tie_weights()
    sam.save_pretrained(folder)
    square = {"height": SIDE, "width": SIDE}
    SamImageProcessorPil(size={"longest_edge": SIDE}, pad_size=square).save_pretrained(folder)


def _save_lmm(folder: Path) -> None:
    ids = {word: i for i, word in enumerate(WORDS)}
    words = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        bos_token="<s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
    )
    shared = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**shared, num_hidden_layers=1, image_size=SIDE, patch_size=16),
        text_config=LlamaConfig(
            **shared, vocab_size=len(WORDS), num_hidden_layers=2, num_key_value_heads=2, initializer_range=0.2
        ),
        image_token_id=ids["<image>"],
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    square = {"height": SIDE, "width": SIDE}
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size=square, do_center_crop=False, crop_size=square),
        tokenizer=tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    ).save_pretrained(folder)
