"""Members of archives, read in place."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from ivm_data.sources.files import ImageFiles, moved
from ivm_data.sources.foreign.common.image_references import image_path
from ivm_data.sources.manifest import plan, read_part
from storage.errors import InputError
from storage.pixels import rle


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deep/a.bin", b"zipped")
        archive.writestr("bomb.bin", bytes(5_000_000))
        archive.writestr("../up.bin", b"only a name")
    with tarfile.open(folder / "a.tar", "w") as archive:
        _add(archive, "./deep/a.bin", b"tarred")
        _add(archive, "big.bin", bytes(5000))
        link = tarfile.TarInfo("link.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
        _add(archive, "a.bin", b"x")
    (folder / "torn.zip").write_bytes((folder / "a.zip").read_bytes()[:200])
    damaged = bytearray((folder / "a.zip").read_bytes())
    damaged[45] ^= 0xFF
    (folder / "damaged.zip").write_bytes(damaged)
    (tmp_path / "out.zip").write_bytes((folder / "a.zip").read_bytes())
    (folder / "link.zip").symlink_to(tmp_path / "out.zip")
    return folder


def _add(archive, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize(
    ("reference", "data"),
    [
        ("zip://deep/a.bin::a.zip", b"zipped"),
        ("zip://../up.bin::a.zip", b"only a name"),
        ("tar://deep/a.bin::a.tar", b"tarred"),
    ],
)
def test_a_member_is_read_without_leaving_a_file_behind(root, reference, data):
    before = sorted(root.parent.rglob("*"))
    with ImageFiles(root) as files:
        assert files.read(reference, 100) == data
    assert sorted(root.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("zip://none.bin::a.zip", "image_missing"),
        ("zip://deep/a.bin::none.zip", "image_missing"),
        ("tar://none.bin::a.tar", "image_missing"),
        ("tar://link.bin::a.tar", "image_missing"),
        ("zip://bomb.bin::a.zip", "image_too_large"),
        ("tar://big.bin::a.tar", "image_too_large"),
        ("zip://deep/a.bin::../out.zip", "image_outside_root"),
        ("zip://deep/a.bin::link.zip", "image_outside_root"),
        ("zip://deep/a.bin::torn.zip", "image_unreadable"),
        ("zip://deep/a.bin::damaged.zip", "image_unreadable"),
        ("zip://deep/a.bin::a.tar", "image_unreadable"),
        ("tar://a.bin::a.tar.gz", "image_unreadable"),
    ],
)
def test_what_cannot_be_read_from_an_archive_has_a_reason(root, reference, reason):
    with ImageFiles(root) as files, pytest.raises(InputError, match=reason):
        files.read(reference, 100)


def test_an_archive_is_opened_once_for_all_its_members(root):
    with ImageFiles(root) as files:
        files.read("zip://deep/a.bin::a.zip", 100)
        (root / "a.zip").unlink()
        assert files.read("zip://../up.bin::a.zip", 100) == b"only a name"


def test_images_and_masks_of_a_manifest_may_lie_in_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, pixels in (("images/a.png", np.zeros((20, 30, 3))), ("masks/a.png", np.eye(20, 30) * 255)):
            file = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
            archive.writestr(name, file.getvalue())
    row = {
        "image": image_path("zip://images::all.zip", "a.png"),
        "instruction": "Look.",
        "mask": "zip://masks/a.png::all.zip",
    }
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    (sample,) = read_part(plan(tmp_path / "m.jsonl")[0])
    assert sample.image_uri == "zip://images/a.png::all.zip" and rle.area(sample.human_mask) == 20


def test_a_folder_may_be_the_top_of_an_archive():
    assert image_path("zip://::a/b.zip", "1.jpg") == "zip://1.jpg::a/b.zip"


@pytest.mark.parametrize(
    ("reference", "seen"),
    [("a.jpg", "sub/a.jpg"), ("tar://x/y.jpg::t.tar", "tar://x/y.jpg::sub/t.tar"), ("https://h/a", "https://h/a")],
)
def test_a_reference_is_reported_as_from_a_higher_root(reference, seen):
    assert moved(reference, "sub") == seen
    assert moved(reference, "") == reference
