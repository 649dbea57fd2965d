"""A gate decides the same in SQL, over Arrow, and label by label."""

import math

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.gates import in_sql
from storage.gates.gate import ABSENT_FEATURES, MASK_FEATURES, Calibrated, Gate, GateConfig, Judged
from storage.gates.in_arrow import decide, decided
from storage.gates.logistic import Logistic
from storage.gates.opinions import Opinions
from storage.parts import schema
from storage.parts.shards import write_weights
from storage.records import MISSING, Scores, Weight

RECIPE = "3f9c0a"
SCORES = (*MASK_FEATURES, "verification", "understood", "quality")
EXTREMES = (None, math.nan, 0.0, 1.0, -0.0, 5e-324, 1e-4, 1 - 1e-4, 0.8, 1e300, -1e300, math.inf, -math.inf)

scores = st.one_of(st.sampled_from(EXTREMES), st.floats(0, 1))
rows = st.fixed_dictionaries(
    {
        **dict.fromkeys(SCORES, scores),
        "area": st.sampled_from([0, 1, 500]),
        "scope": st.sampled_from([None, "things", "whole image"]),
        "incomplete": st.booleans(),
        "source": st.sampled_from(["world", "photo's", ""]),
        "kind": st.sampled_from(["", "relation"]),
    }
)
numbers = st.floats(-5, 5)


@st.composite
def logistics(draw, known):
    features = tuple(draw(st.lists(st.sampled_from(known), unique=True)))
    several = st.tuples(*[numbers] * len(features))
    scale = draw(st.tuples(*[st.floats(1e-3, 1e3)] * len(features)))
    return Logistic(features, draw(several), scale, draw(several), draw(numbers))


@st.composite
def gates(draw):
    accept, reject = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))), reverse=True)
    least = draw(st.floats(0, 2)), draw(st.floats(0, 1))
    config = GateConfig(accept, reject, *least, 0.01, draw(st.floats(0.02, 1)), draw(st.floats(0, 1)))
    quality = draw(
        st.one_of(
            st.sampled_from(["written", "uncalibrated"]),
            st.builds(Calibrated, logistics(MASK_FEATURES), logistics(ABSENT_FEATURES)),
        )
    )
    by = draw(st.sampled_from(["", "source", "kind", "answer"]))
    names = st.sampled_from(["world", "photo's", "relation", "mask", "absent", "whole image"])
    accepts = draw(st.dictionaries(names, st.one_of(st.none(), st.floats(config.reject, 1)))) if by else {}
    return Gate(RECIPE, config, quality, by, accepts)


def table_of(labels):
    blank = {"recipe": RECIPE, "outcome": "label", "reason": "ok", "status": "accepted"}
    columns = [
        pa.field(f.name, f.type)
        for f in schema.LIGHT
        if f.name in {*blank, *labels[0], "things", "candidates", "rewrite"}
    ]
    return pa.Table.from_pylist([blank | label for label in labels], pa.schema(columns))


def in_sql_of(table, gate):
    with duckdb.connect(":memory:") as connection:
        connection.register("labels", table)
        found = connection.sql(in_sql.decided({gate.recipe: gate}, "labels")).to_arrow_table()
    assert found.schema.names == table.schema.names
    return found


@given(st.lists(rows, min_size=1, max_size=30), gates())
@settings(deadline=None, max_examples=60)
def test_sql_and_arrow_decide_the_same_whatever_the_evidence(labels, gate):
    table = table_of(labels)
    sql, arrow = in_sql_of(table, gate), decided(table, {gate.recipe: gate})
    for name in ("status", "reason"):
        assert sql[name].to_pylist() == arrow[name].to_pylist()
    for one, other in zip(sql["quality"].to_pylist(), arrow["quality"].to_pylist(), strict=True):
        assert one is other is None or one == pytest.approx(other, abs=1e-12)


@given(st.lists(rows, min_size=1, max_size=20), gates())
@settings(deadline=None, max_examples=40)
def test_many_labels_get_what_each_gets_alone_at_labeling(labels, gate):
    from ivm_data.quality.calibration import Uncalibrated
    from ivm_data.stages.gate import decide as decide_one

    quality_N, reason_N = decide(table_of(labels), gate)
    for label, quality, reason in zip(labels, quality_N, reason_N, strict=True):
        known = {name: MISSING if label[name] is None else label[name] for name in SCORES}
        alone = Scores(**known)
        answer = "absent" if label["area"] == 0 else "whole image" if label["scope"] == "whole image" else "mask"
        if isinstance(gate.quality, Calibrated):
            by = {"absent": gate.quality.absent, "mask": gate.quality.mask}
            expected = alone.verification if answer == "whole image" else by[answer].probability(alone)
        elif gate.quality == "uncalibrated":
            of_mask = Uncalibrated().quality(alone, answer == "absent")
            expected = alone.verification if answer == "whole image" else of_mask
        else:
            expected = alone.quality
        if not math.isfinite(expected):
            assert math.isnan(quality) and reason == "no_quality"
            continue
        assert quality == pytest.approx(expected, abs=1e-12)
        if not gate.by:
            decision = decide_one(Scores(**known | {"quality": quality}), answer, label["incomplete"], gate.config)
            assert (in_sql.STATUS[reason], reason) == decision


@pytest.mark.parametrize("otherwise", ["written", "uncalibrated"])
def test_a_judge_decides_the_same_in_sql_and_arrow_and_what_it_has_not_seen_keeps_its_quality(tmp_path, otherwise):
    known = {**dict.fromkeys(SCORES, 0.5), "scope": None, "incomplete": False, "source": "", "kind": ""}
    labels = [known | {"area": n % 3, "quality": n / 10, "part": f"p{n % 2}", "sample_id": str(n)} for n in range(9)]
    said = {("p0", "0"): 0.9, ("p1", "3"): 0.2, ("p0", "3"): 0.3, ("p1", "8"): 0.4, ("p0", "8"): 0.85}
    for part in ("p0", "p1"):
        weights = [Weight(name, RECIPE, "judge@1", d, 0) for (of, name), d in said.items() if of == part]
        weights.append(Weight("5", "another", "judge@1", 0.01, 0))
        write_weights(tmp_path, "judge@1", part, weights)
    files = sorted((tmp_path / "weights" / "judge@1").iterdir())
    gate = Gate(RECIPE, GateConfig(0.8, 0.3), Judged("judge@1", 60, 120, otherwise, Opinions(files, RECIPE)))
    table = table_of(labels)
    with duckdb.connect(":memory:") as connection:
        rows = [(RECIPE, of, name, "judge@1", d) for (of, name), d in said.items()]
        rows += [("another", "p1", "5", "judge@1", 0.01), (RECIPE, "p1", "5", "judge@2", 0.02)]
        opinions = pa.Table.from_pylist(
            [dict(zip(("recipe", "part", "sample_id", "discriminator", "d"), row, strict=True)) for row in rows]
        )
        connection.register("labels", table)
        connection.register(in_sql.OPINIONS, opinions)
        sql = connection.sql(in_sql.decided({RECIPE: gate}, "labels") + " ORDER BY sample_id").to_arrow_table()
    arrow = decided(table, {RECIPE: gate})
    assert sql.schema.names == arrow.schema.names
    for name in ("sample_id", "status", "reason"):
        assert sql[name].to_pylist() == arrow[name].to_pylist()
    assert sql["quality"].to_pylist() == pytest.approx(arrow["quality"].to_pylist(), abs=1e-12)
    plain = decided(table, {RECIPE: Gate(RECIPE, gate.config, otherwise)})["quality"].to_pylist()
    assert arrow["quality"].to_pylist() == [
        said.get((label["part"], label["sample_id"]), q) for label, q in zip(labels, plain, strict=True)
    ]
    assert Gate.from_dict(gate.to_dict()).hash == gate.hash


def test_rows_of_other_recipes_and_rejections_stay_as_they_were_written():
    labels = [{**dict.fromkeys(SCORES, 0.5), "area": 5, "scope": None, "incomplete": False, "source": "", "kind": ""}]
    table = table_of(labels * 3)
    table = table.set_column(
        table.schema.get_field_index("outcome"), "outcome", pa.array(["label", "rejection", "label"])
    )
    table = table.set_column(table.schema.get_field_index("recipe"), "recipe", pa.array([RECIPE, RECIPE, "other"]))
    gate = Gate(RECIPE, GateConfig(accept=0.9, min_understood=0))
    for found in (in_sql_of(table, gate), decided(table, {RECIPE: gate})):
        assert found["status"].to_pylist() == ["review", "accepted", "accepted"]
        assert found["reason"].to_pylist() == ["uncertain", "ok", "ok"]


def test_a_column_of_words_that_is_encoded_stays_encoded():
    labels = [{**dict.fromkeys(SCORES, 0.85), "area": 5, "scope": None, "incomplete": False, "source": "", "kind": ""}]
    table = table_of(labels * 2)
    for name in ("status", "recipe"):
        table = table.set_column(table.schema.get_field_index(name), name, table[name].dictionary_encode())
    found = decided(table, {RECIPE: Gate(RECIPE, GateConfig(accept=1.0, min_understood=0.5))})
    assert pa.types.is_dictionary(found["status"].type)
    assert found["status"].to_pylist() == ["review", "review"]
    assert not np.isnan(found["quality"].to_numpy()).any()
