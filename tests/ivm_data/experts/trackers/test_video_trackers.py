"""SAM 2, SAM 3 and EdgeTAM as trackers, over small checkpoints of random weights in their formats.

What they carry is held against the library's own pass over a whole video.
"""

import numpy as np
import pytest
import torch

from ivm_data.experts.registry import ExpertSpec, create

HEIGHT, WIDTH, FRAMES = 48, 80, 5
CLASSES = {
    "sam2-video": ("Sam2VideoModel", "Sam2VideoProcessor"),
    "sam3-tracker-video": ("Sam3TrackerVideoModel", "Sam3TrackerVideoProcessor"),
    "edgetam-video": ("EdgeTamVideoModel", "Sam2VideoProcessor"),
}
ROUNDED = {"edgetam-video": 0.01}
"""Share of the pixels that may differ, where the whole video and its frames one by one are rounded differently."""


@pytest.fixture(scope="module", params=CLASSES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def folder(name, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp(name)
    getattr(tiny, name.replace("-", "_"))(folder)
    return folder


@pytest.fixture(scope="module")
def tracker(name, folder):
    expert = create(ExpertSpec(name, {"path": str(folder), "device": "cpu", "dtype": "float32"}))
    expert.load()
    return expert


@pytest.fixture(scope="module")
def images():
    return list(np.random.default_rng(0).integers(0, 255, (FRAMES, HEIGHT, WIDTH, 3), np.uint8))


def box(y0, x0, y1, x1):
    mask_HW = np.zeros((HEIGHT, WIDTH), bool)
    mask_HW[y0:y1, x0:x1] = True
    return mask_HW


def of_the_library(name, folder, images, mask_HW):
    """The masks of a video that the session holds whole, and passes through by itself."""
    import transformers

    model, processor = (getattr(transformers, one).from_pretrained(folder) for one in CLASSES[name])
    model.eval()
    session = processor.init_video_session(video=images, inference_device="cpu")
    processor.add_inputs_to_inference_session(session, frame_idx=0, obj_ids=1, input_masks=mask_HW)
    found = {}
    with torch.inference_mode():
        model(inference_session=session, frame_idx=0)
        for out in model.propagate_in_video_iterator(session):
            (masks_11HW,) = processor.post_process_masks([out.pred_masks], original_sizes=[[HEIGHT, WIDTH]])
            found[out.frame_idx] = masks_11HW[0, 0].numpy()
    return [found[number] for number in sorted(found)]


def test_masks_are_those_of_the_librarys_own_pass(tracker, name, folder, images):
    mask_HW = box(10, 20, 30, 50)
    found, expected = tracker.carry(images, mask_HW), of_the_library(name, folder, images, mask_HW)
    assert len(found) == len(expected) == FRAMES and (found[0] == mask_HW).all()
    for one_HW, other_HW in zip(found[1:], expected[1:], strict=True):
        assert one_HW.shape == (HEIGHT, WIDTH) and one_HW.dtype == bool
        assert np.count_nonzero(one_HW != other_HW) <= ROUNDED.get(name, 0.0) * one_HW.size
    assert any(0 < np.count_nonzero(one_HW) < one_HW.size for one_HW in found[1:])


def test_the_mask_of_the_first_frame_decides_the_others(tracker, images):
    one, other = tracker.carry(images, box(0, 0, 20, 30)), tracker.carry(images, box(30, 50, 48, 80))
    assert any((a_HW != b_HW).any() for a_HW, b_HW in zip(one[1:], other[1:], strict=True))


def test_nothing_is_followed_where_nothing_is_marked(tracker, images):
    found = tracker.carry(images, box(0, 0, 0, 0))
    assert len(found) == FRAMES and not any(mask_HW.any() for mask_HW in found)


def test_a_second_call_does_not_remember_the_first(tracker, images):
    first = tracker.carry(images, box(10, 20, 30, 50))
    tracker.carry(images[::-1], box(0, 0, 20, 30))
    assert all((a == b).all() for a, b in zip(first, tracker.carry(images, box(10, 20, 30, 50)), strict=True))


def test_the_tracker_of_a_released_sam3_is_read_without_its_detector(tiny, tmp_path):
    """As released: detector and tracker in one checkpoint, which calls itself "sam3_video"."""
    tensors = tiny.sam3_video(tmp_path)
    tiny.sam3_video_processor(tmp_path)
    expert = create(ExpertSpec("sam3-tracker-video", {"path": str(tmp_path), "device": "cpu", "dtype": "float32"}))
    expert.load()
    for one, value in expert._model.state_dict().items():
        source = one.replace("vision_encoder.neck.", "tracker_neck.")
        if source == one:
            source = f"detector_model.{one}" if one.startswith("vision_encoder.") else f"tracker_model.{one}"
        assert torch.equal(value, tensors[source]), one
