"""Sets whose videos are stored turned, as telephones store them."""

import io
import json

import numpy as np
import pytest
from lerobot_sets import KEY, SIZE, frames, label, mask, picture, write_set
from PIL import Image

from ivm_data.exports.run import Selection, export

UPRIGHT, QUARTER = (
    b"".join((n & 0xFFFFFFFF).to_bytes(4, "big") for n in matrix)
    for matrix in ((1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30))
)
"""Matrices of an MP4's track header: as it is, and to be turned by a quarter clockwise."""


def turn(folder):
    """Let every video of a set say that it is to be shown turned by a quarter, as those of telephones do."""
    for path in folder.rglob("*.mp4"):
        data = path.read_bytes()
        at = data.index(UPRIGHT, data.index(b"tkhd"))
        path.write_bytes(data[:at] + QUARTER + data[at + len(QUARTER) :])


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_turned_video_is_labeled_and_masked_upright(tmp_path, version):
    source = write_set(tmp_path / "sets" / "toy", version)
    turn(source)
    label(source, tmp_path / "data", turned=True)
    options = {"folder": str(source), "images": "sets/toy"}
    counts = export("lerobot", tmp_path / "data", tmp_path / "out", Selection(), options)
    assert counts.labels == 10
    shown, rows_ = frames(tmp_path / "out", f"{KEY}_masked", 2)
    facts = json.loads((tmp_path / "out/meta/info.json").read_text())["features"]
    assert facts[f"{KEY}_masked"]["shape"][:2] == [SIZE[0], SIZE[1]], "height and width of what is shown"
    whole, _ = frames(tmp_path / "out", KEY, 2)
    for f, image_HWC in enumerate(shown[:5]):
        true_HW, whole_HWC = np.rot90(mask(2, f), -1), np.rot90(picture(2, f), -1)
        png = np.array(Image.open(io.BytesIO(rows_["observation.masks.high"][f].as_py()["bytes"])))
        assert (png == 255 * true_HW).all()
        assert np.abs(image_HWC.astype(int) - whole_HWC)[true_HW].mean() < 12
        assert np.abs(whole[f].astype(int) - whole_HWC).mean() < 12, "the camera's own video is shown upright too"
