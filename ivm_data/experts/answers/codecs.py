"""Answers as bytes and back, number for number: compressed JSON, with masks as COCO run lengths."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from ivm_data.experts.common.frame import Frame
from ivm_data.experts.common.protocols import Detection, Reply, Segmentation
from storage.pixels import rle
from storage.records import Box, Rle
from storage.request import Request, Thing

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Codec(Generic[Answer]):
    """How one kind of answer is written.

    Attributes:
        plain: an answer -> what JSON can hold.
        answer: the way back.
    """

    plain: Callable[[Answer], Any]
    answer: Callable[[Any], Answer]

    def encode(self, answers: Sequence[Answer]) -> bytes:
        """The answers to some questions, in order."""
        text = json.dumps([self.plain(one) for one in answers], separators=(",", ":"), default=_number)
        return zlib.compress(text.encode(), 1)

    def decode(self, value: bytes) -> list[Answer]:
        """What `encode` was given."""
        return [self.answer(one) for one in json.loads(zlib.decompress(value))]


def _number(value: Any) -> Any:
    """A number of NumPy as one of Python."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} in an answer cannot be kept")


def mask_plain(mask_HW: np.ndarray) -> list[Any]:
    """A mask (H, W) bool as height, width and run lengths."""
    encoded = rle.encode(mask_HW)
    return [encoded.height, encoded.width, encoded.counts.decode("ascii")]


def mask_of(plain: Sequence[Any]) -> np.ndarray:
    """The mask (H, W) bool that `mask_plain` wrote."""
    height, width, counts = plain
    return rle.decode(Rle(height, width, counts.encode("ascii")))


def _detections(plain: Any) -> list[Detection]:
    return [Detection(phrase, Box(*corners), score) for phrase, corners, score in plain]


def _plain_request(request: Request) -> list[Any]:
    things = [list(astuple(thing)) for thing in request.things]
    return [things, request.scope, request.understood, request.answer, list(request.notes)]


def _request(plain: Any) -> Request:
    things, scope, understood, answer, notes = plain
    return Request(tuple(Thing(*thing) for thing in things), scope, understood, answer, tuple(notes))


def _plain_segmentation(found: Segmentation) -> list[Any]:
    masks = [mask_plain(mask_HW) for mask_HW in found.mask_NHW]
    return [list(found.mask_NHW.shape[1:]), masks, found.predicted_iou_N.tolist(), found.stability_N.tolist()]


def _segmentation(plain: Any) -> Segmentation:
    size, masks, predicted_iou, stability = plain
    mask_NHW = np.stack([mask_of(mask) for mask in masks]) if masks else np.zeros((0, *size), bool)
    return Segmentation(mask_NHW, np.array(predicted_iou, np.float32), np.array(stability, np.float32))


def _plain_reply(reply: Reply) -> list[Any]:
    return [reply.text, reply.is_cut, None if reply.frame is None else astuple(reply.frame)]


def _reply(plain: Any) -> Reply:
    text, is_cut, frame = plain
    return Reply(text, is_cut, None if frame is None else Frame(*map(tuple, frame)))


NUMBER: Codec[float] = Codec(float, float)
"""Also of a float32, which a float holds exactly."""
REQUEST: Codec[Request] = Codec(_plain_request, _request)
REPLY: Codec[Reply] = Codec(_plain_reply, _reply)
DETECTIONS: Codec[list[Detection]] = Codec(
    lambda found: [[one.phrase, astuple(one.box), one.score] for one in found], _detections
)
SEGMENTATION: Codec[Segmentation] = Codec(_plain_segmentation, _segmentation)
SCORED_MASK: Codec[tuple[np.ndarray, float]] = Codec(
    lambda found: [mask_plain(found[0]), found[1]], lambda plain: (mask_of(plain[0]), plain[1])
)
