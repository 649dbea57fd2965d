"""Grounding DINO (Liu et al., 2023, arXiv 2303.05499) as a grounder, with the original code and files."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.checkpoint_expert import CheckpointExpert
from ivm_data.experts.common.input_size import InputSize
from ivm_data.experts.common.known_words import known_words
from ivm_data.experts.common.native_weights import file_name, load_strictly
from ivm_data.experts.common.phrase_score import DELIMITERS, phrase_spans, span_scores
from ivm_data.experts.common.protocols import Detection, check_lengths
from ivm_data.experts.grounders.deformable_sampling import sample_natively_by_rows
from ivm_data.experts.grounders.detections import CaptionModel, DetectionConfig, detect
from ivm_data.experts.grounders.folded_fusion import fold_native_fusion
from ivm_data.experts.grounders.original_grounding_dino_fixes import build_model
from ivm_data.experts.grounders.shared_backbone import share_native_backbone
from ivm_model.model.base_models import Dtype, computing_in, first_line, load_part, to_device
from storage.common.extras import extra
from storage.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    import torch

ARCHITECTURES = {"swin-t": "GroundingDINO_SwinT_OGC.py", "swin-b": "GroundingDINO_SwinB_cfg.py"}
"""Known architectures and their config files in the package."""

TRAINING_ONLY = frozenset({"label_enc.weight", "bert.embeddings.position_ids"})
"""Tensors of the published files that inference has no use for: denoising labels, and a constant 0..511."""

_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""ImageNet's, in RGB, for pixels in [0, 1]."""


@dataclass(frozen=True)
class NativeGroundingDinoConfig(DetectionConfig):
    """Where the weights lie and what they are; and what counts as found.

    Attributes:
        path: a `.pth` file such as `groundingdino_swint_ogc.pth`.
        architecture: `swin-t`, `swin-b`, or the path of a native config file `.py`, whose values are read, never run.
        revision: what the lineage says of the file; "" means the hash of its bytes.
        text_encoder: directory or hub id with BERT's config.json and tokenizer; its weights are in the `.pth`.
        text_encoder_revision: hub revision of the text encoder.
        shortest_edge: pixels to which the image's short edge is resized.
        longest_edge: pixels that the long edge may then have at most.
        dtype: in which the model computes; boxes are refined in float32.
    """

    path: str
    architecture: str = "swin-t"
    revision: str = ""
    text_encoder: str = "google-bert/bert-base-uncased"
    text_encoder_revision: str = ""
    shortest_edge: int = 800
    longest_edge: int = 1333
    dtype: Dtype = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 32 <= self.shortest_edge <= self.longest_edge:
            raise ConfigError(
                f"'shortest_edge' must lie in [32, longest_edge], got {self.shortest_edge} and {self.longest_edge}"
            )


class NativeGroundingDino(CheckpointExpert[NativeGroundingDinoConfig]):
    """Grounder: image and noun phrases -> boxes, each scored by the phrase's own tokens."""

    def __init__(self, config: NativeGroundingDinoConfig) -> None:
        super().__init__(config)
        self._batches = Batches(config.images_per_batch)

    @property
    def name(self) -> str:
        """`file@revision`."""
        return file_name(self.config.path, self.config.revision)

    @property
    def input_size(self) -> InputSize:
        """What every picture is resized to."""
        return InputSize(self.config.shortest_edge, self.config.longest_edge)

    def _read(self) -> Any:
        with extra("original-experts"):
            import groundingdino  # noqa: F401
        config = self.config
        architecture = read_architecture(config.architecture)
        _check_cells(config, architecture)
        bert_config, tokenizer = _text_encoder(config)
        try:
            model = build_model(architecture, bert_config, tokenizer)
        except (AssertionError, NotImplementedError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"architecture {config.architecture!r} cannot be built: {first_line(error)}; "
                f"start from a copy of the package's {ARCHITECTURES['swin-t']}"
            ) from error
        load_strictly(model, config.path, config.architecture, ignored=TRAINING_ONLY)
        share_native_backbone(model.backbone[0])
        fold_native_fusion(model.transformer.encoder)
        sample_natively_by_rows(model.transformer)
        return model.to(config.device)

    def ground(self, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Detections for each image, best first, after non-maximum suppression within each phrase."""
        check_lengths(images, phrases, "list of phrases")
        self.load()
        model = CaptionModel(self._pixels, self._forward, self._batches, self._model.max_text_len, self._count_tokens)
        return detect(model, images, phrases, self.config)

    def known_words(self, phrase: str) -> float:
        """Share of the phrase's words that the text encoder's tokenizer knows, in [0, 1]."""
        return known_words(self._model.tokenizer, phrase)

    def _count_tokens(self, text: str) -> int:
        # With padding, as the model: a tokenizer keeps that as a state, which threads must not change for each other.
        return len(self._model.tokenizer([text], padding=True, add_special_tokens=False)["input_ids"][0])

    def _forward(
        self, captions: Sequence[str], pixels: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Normalised centre-size boxes (Q, 4) and phrase scores (Q, P) for each caption."""
        import torch

        ids = self._model.tokenizer(list(captions), padding=True)["input_ids"]
        image_BCHW = to_device(torch.stack(list(pixels)), self.config.device)
        with torch.inference_mode(), computing_in(self.config.dtype, self.config.device):
            out = self._model(image_BCHW, captions=list(captions))
        for row, logits_QT, boxes_Q4 in zip(ids, out["pred_logits"], out["pred_boxes"], strict=True):
            yield boxes_Q4.float().cpu(), span_scores(logits_QT, phrase_spans(row)).cpu()

    def _pixels(self, image_HWC: np.ndarray) -> torch.Tensor:
        """The package's own resizing and normalisation, (3, H, W) float32."""
        from groundingdino.datasets.transforms import resize
        from PIL import Image
        from torchvision.transforms.functional import normalize, to_tensor

        resized, _ = resize(Image.fromarray(image_HWC), None, self.config.shortest_edge, self.config.longest_edge)
        pixels_CHW: torch.Tensor = normalize(to_tensor(resized), _MEAN, _STD)
        return pixels_CHW


def read_architecture(architecture: str) -> dict[str, Any]:
    """The fields of a native config: of a known name, or of a `.py` file that holds `name = literal` lines only.

    Raises:
        ConfigError: an unknown name, or a file that lacks a field, or computes, imports or inherits anything.
    """
    import groundingdino

    published = Path(groundingdino.__file__).parent / "config"
    if architecture in ARCHITECTURES:
        return _fields(published / ARCHITECTURES[architecture])
    if not (architecture.endswith(".py") and Path(architecture).is_file()):
        known = ", ".join(ARCHITECTURES)
        raise ConfigError(f"unknown architecture {architecture!r}; choose one of {known}, or give a config file .py")
    fields, model = _fields(Path(architecture)), ARCHITECTURES["swin-t"]
    if missing := sorted(_fields(published / model).keys() - fields.keys()):
        raise ConfigError(f"{architecture!r} lacks {missing[0]!r}; start from a copy of the package's config/{model}")
    return fields


def _fields(file: Path) -> dict[str, Any]:
    try:
        return dict(map(_assignment, ast.parse(file.read_text(encoding="utf-8")).body))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(
            f"cannot read '{file}': {first_line(error)}; only lines like 'num_queries = 900' are allowed, "
            "because a config is read and never run; write out what it computes or inherits"
        ) from error


def _assignment(line: ast.stmt) -> tuple[str, Any]:
    if not (isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name)):
        raise ValueError(f"line {line.lineno} is not 'name = value'")
    return line.targets[0].id, ast.literal_eval(line.value)


def _check_cells(config: NativeGroundingDinoConfig, architecture: Mapping[str, Any]) -> None:
    """The finest feature map, at stride 8, must offer a cell for each query, on the narrowest image too (1 : 4)."""
    cells = min(config.shortest_edge, config.longest_edge / 2) ** 2 / 64
    if cells < architecture["num_queries"]:
        raise ConfigError(
            f"shortest_edge {config.shortest_edge} and longest_edge {config.longest_edge} leave {cells:.0f} feature "
            f"cells for {architecture['num_queries']} queries; raise them (800 and 1333 are the published values)"
        )


def _text_encoder(config: NativeGroundingDinoConfig) -> tuple[Any, Any]:
    """BERT's config and tokenizer."""
    from transformers import AutoConfig, AutoTokenizer, BertConfig

    source = {"revision": config.text_encoder_revision} if config.text_encoder_revision else {}
    bert_config = load_part(AutoConfig, config.text_encoder, source)
    if not isinstance(bert_config, BertConfig):
        raise WeightsError(
            f"text_encoder {config.text_encoder!r} is a {bert_config.model_type!r} model; 'bert' is needed, "
            "such as google-bert/bert-base-uncased"
        )
    tokenizer = load_part(AutoTokenizer, config.text_encoder, source)
    borders = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", ".", "?"])
    if set(borders) != DELIMITERS:
        raise WeightsError(
            f"the tokenizer of {config.text_encoder!r} numbers [CLS], [SEP], '.' and '?' {borders}; "
            "101, 102, 1012 and 1029 are needed, as in bert-base-uncased"
        )
    return bert_config, tokenizer
