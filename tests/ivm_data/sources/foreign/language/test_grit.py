import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ivm_data.sources.foreign.readers import read
from storage.errors import ConfigError

CAPTION = "A wire hanger with a paper cover that reads we heart our customers"
ROW = {
    "clip_similarity_vitb32": 0.2795,
    "clip_similarity_vitl14": 0.2958,
    "id": 1795296605919,
    "url": "https://www.thestrapsaver.com/hanger.jpg",
    "caption": CAPTION,
    "width": 1024,
    "height": 693,
    "noun_chunks": [
        [19.0, 32.0, 0.019644, 0.31054, 0.962292, 0.9603, 0.79298],
        [0.0, 13.0, 0.019422, 0.027634, 0.9, 0.92, 0.67],
        [0.0, 13.0, 0.5, 0.5, 0.75, 1.0, 0.66],
    ],
    "ref_exps": [[19.0, 66.0, 0.02, 0.31, 0.96, 0.96, 0.79], [0.0, 66.0, 0.0, 0.0, 0.97, 0.92, 0.67]],
}


@pytest.fixture
def folder(tmp_path):
    table = pa.Table.from_pylist([ROW, ROW | {"noun_chunks": None, "ref_exps": [[0.0, 6.0]]}])
    pq.write_table(table, tmp_path / "coyo_0_snappy.parquet")
    return str(tmp_path)


def test_each_grounded_span_is_an_instruction_over_a_url(records, folder):
    pairs, bad = records("grit", table=folder)
    assert [(pair.kind, pair.instruction) for pair in pairs] == [
        ("expression", CAPTION[19:]),
        ("expression", CAPTION),
        ("phrase", "a paper cover"),
        ("phrase", "A wire hanger"),
    ]
    assert {pair.image for pair in pairs} == {ROW["url"]} and {pair.targets for pair in pairs} == {None}
    assert bad[0].where == "coyo_0_snappy.parquet: row 1" and "not enough values" in bad[0].why


def test_a_detectors_boxes_become_labels_only_where_somebody_wants_it(records, folder):
    pairs, _ = records("grit", table=folder, boxes=True)
    assert pairs[3].targets == (
        {"box": [0.019422, 0.027634, 0.9, 0.92], "frame": "image"},
        {"box": [0.5, 0.5, 0.75, 1.0], "frame": "image"},
    )
    strict, _ = records("grit", table=folder, boxes=True, min_score=0.7)
    assert [pair.instruction for pair in strict] == [CAPTION[19:], "a paper cover"]
    assert len(records("grit", table=folder, noun_chunks=False)[0]) == 2


def test_what_is_no_such_table_is_refused(tmp_path, write):
    with pytest.raises(ConfigError, match="no Parquet file"):
        list(read("grit", {"table": str(tmp_path)}))
    with pytest.raises(ConfigError, match="no Parquet with"):
        list(read("grit", {"table": write("x.parquet", "torn")}))
