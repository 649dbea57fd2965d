import os
from pathlib import Path

import pytest

from ivm_data.sources.files import read_inside
from storage.errors import InputError, TransientError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.bin").write_bytes(b"inside")
    (tmp_path / "secret.bin").write_bytes(b"outside")
    (folder / "out").symlink_to(tmp_path / "secret.bin")
    (folder / "up").symlink_to(tmp_path)
    (folder / "alias").symlink_to(folder / "deep" / "a.bin")
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize("reference", ["deep/a.bin", "./deep/a.bin", "alias"])
def test_files_and_links_inside_the_root_are_read(root, reference):
    assert read_inside(root, reference, 100) == b"inside"


@pytest.mark.parametrize(
    "reference", ["../secret.bin", "deep/../../secret.bin", "deep/../deep/a.bin", "out", "up/secret.bin"]
)
def test_a_path_that_may_leave_the_root_is_refused(root, reference):
    with pytest.raises(InputError, match="image_outside_root"):
        read_inside(root, reference, 100)


def test_an_absolute_path_is_refused_even_to_a_file_inside(root):
    with pytest.raises(InputError, match="image_outside_root"):
        read_inside(root, str(root / "deep" / "a.bin"), 100)


@pytest.mark.parametrize(
    "reference", ["none.jpg", "deep", ".", "deep/a.bin/b", "loop", "pipe", "x" * 5000, "http://a/b.jpg"]
)
def test_what_is_not_a_regular_file_is_missing(root, reference):
    with pytest.raises(InputError, match="image_missing"):
        read_inside(root, reference, 100)


def test_a_file_over_the_byte_limit_is_not_read(root):
    with pytest.raises(InputError, match=r"image_too_large.*6 bytes, at most 5"):
        read_inside(root, "deep/a.bin", 5)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_a_file_without_permission_is_unreadable(root):
    (root / "deep" / "a.bin").chmod(0)
    with pytest.raises(InputError, match="image_unreadable"):
        read_inside(root, "deep/a.bin", 100)


@pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="needs a file whose reading fails: /proc/self/mem")
def test_a_failing_file_system_is_worth_another_try():
    with pytest.raises(TransientError, match="try again"):
        read_inside(Path("/proc/self"), "mem", 100)
