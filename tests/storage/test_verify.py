import pyarrow.parquet as pq
import pytest

from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.shards import commit_part
from storage.verify import verify


def test_a_sound_data_set_has_no_problems(small_data):
    assert verify(small_data) == ()


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no data folder"):
        verify(tmp_path / "nowhere")


@pytest.mark.parametrize("which", ["light", "heavy"])
def test_damage_behind_a_whole_footer_is_found(tmp_path, build, which):
    path = getattr(commit_part(tmp_path, build.make_part(rows=40)), which)
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 4
    raw[middle : middle + 400] = bytes(byte ^ 0x5A for byte in raw[middle : middle + 400])
    path.write_bytes(raw)
    assert DataSet.open(tmp_path).problems == ()
    assert any("part-00000" in str(problem) for problem in verify(tmp_path))


def test_rows_that_were_changed_after_the_commit_are_found(tmp_path, build):
    light = commit_part(tmp_path, build.make_part()).light
    table = pq.read_table(light)
    pq.write_table(table.slice(0, 5), light)
    assert ["its part's rows hash to" in problem.why for problem in verify(tmp_path)] == [True]


def test_an_image_that_was_swapped_is_found(tmp_path, build):
    heavy = commit_part(tmp_path, build.make_part()).heavy
    table = pq.read_table(heavy)
    images = [None if image is None else b"another" for image in table["image"].to_pylist()]
    swapped = table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), [images])
    pq.write_table(swapped, heavy)
    assert ["images of row group 0" in problem.why for problem in verify(tmp_path)] == [True]
