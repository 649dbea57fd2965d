import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError, ShardError
from storage.parts import schema
from storage.parts.shards import commit_part
from storage.records import Label, Moment, PartResult
from storage.sql.sql_views import VIEWS


@pytest.fixture(scope="module")
def catalog(small_data):
    with Catalog(small_data) as opened:
        yield opened


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    with Catalog(tmp_path_factory.mktemp("empty")) as opened:
        yield opened


def rows(catalog, query, **parameters):
    return catalog.sql(query, **parameters).to_pylist()


def count(catalog, view):
    return rows(catalog, f"SELECT count(*) AS n FROM {view}")[0]["n"]


def test_every_outcome_is_in_exactly_one_of_labels_and_rejections(catalog, parts):
    labels = [outcome for part in parts for outcome in part.outcomes if isinstance(outcome, Label)]
    assert count(catalog, "outcomes") == sum(len(part.outcomes) for part in parts)
    assert count(catalog, "labels") == count(catalog, "masks") == count(catalog, "weights") == len(labels)
    assert count(catalog, "labels") + count(catalog, "rejections") == count(catalog, "outcomes")
    assert count(catalog, "proposals") == sum(len(label.proposals) for label in labels)
    assert count(catalog, "candidates") == sum(len(label.candidates) for label in labels)
    assert (count(catalog, "timings"), count(catalog, "reviews"), count(catalog, "recipes")) == (4, 10, 1)


def test_nested_records_are_rows_with_flat_columns(catalog, parts):
    label = parts[0].outcomes[1]
    found = rows(catalog, "SELECT * FROM proposals WHERE sample_id = $id ORDER BY rank", id=label.sample.id)
    assert [(row["rank"], row["expert"], row["score"]) for row in found] == [
        (rank, proposal.expert, proposal.score) for rank, proposal in enumerate(label.proposals)
    ]
    box = rows(catalog, "SELECT box.x1 AS right FROM candidates WHERE sample_id = $id AND chosen", id=label.sample.id)
    assert box == [{"right": label.candidates[0].box.x1}]


def test_a_recipe_can_be_asked_for_its_settings(catalog):
    assert rows(catalog, "SELECT config->>'$.gate.accept' AS accept FROM recipes") == [{"accept": "0.9"}]


def test_an_empty_data_set_has_the_same_views_columns_and_types(catalog, empty):
    assert empty.describe() == catalog.describe()
    assert all(count(empty, view.name) == 0 for view in VIEWS)


def test_every_column_of_every_view_is_described(empty):
    described = empty.describe().to_pylist()
    assert {row["view"] for row in described} == {view.name for view in VIEWS}
    assert all(row["description"] for row in described) and all(view.description for view in VIEWS)


def test_bad_files_are_named_and_the_rest_stays_queryable(tmp_path, build):
    good = commit_part(tmp_path, build.make_part("good"))
    torn = commit_part(tmp_path, build.make_part("torn", seed=100)).light
    torn.write_bytes(torn.read_bytes()[:5000])
    commit_part(tmp_path, build.make_part("lost", seed=200)).heavy.unlink()
    pq.write_table(pa.table({"x": [1]}), good.light.with_name("foreign.light.parquet"))
    pq.write_table(pa.table({"x": [1]}), tmp_path / "stray.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "labels" / "stray.parquet")
    newer = schema.LIGHT.with_metadata({"ivm_schema": "light", "ivm_version": "2"})
    pq.write_table(newer.empty_table(), good.light.with_name("newer.light.parquet"))
    (good.light.with_name("zero.light.parquet")).touch()
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "half.json").write_text('{"a": ')
    with Catalog(tmp_path) as catalog:
        why = {problem.path.name: problem.why.split(":")[0] for problem in catalog.problems}
        message = str(catalog.error)
        assert count(catalog, "outcomes") == good.rows
    assert why == {
        "torn.light.parquet": "torn or not Parquet",
        "lost.light.parquet": "incomplete",
        "foreign.light.parquet": "foreign",
        "stray.parquet": "foreign",
        "newer.light.parquet": "ivm_version is '2', expected '1'",
        "zero.light.parquet": "torn or not Parquet",
        "half.json": "torn or not JSON",
    }
    assert message.startswith("8 file(s) of the data set cannot be used")
    assert f"labels/{build.RECIPE}/torn.light.parquet: torn" in message and "can be queried" in message


def test_a_sound_data_set_has_no_error(catalog):
    assert catalog.problems == () and catalog.error is None


def test_a_part_that_is_not_committed_yet_is_no_problem_and_no_answer(tmp_path, build):
    commit_part(tmp_path, build.make_part()).light.unlink()
    with Catalog(tmp_path) as catalog:
        assert catalog.problems == ()
        assert count(catalog, "masks") == 0


@pytest.mark.parametrize(
    "query",
    [
        "CREATE TABLE t AS SELECT 1",
        "COPY labels TO 'out.parquet'",
        "EXPLAIN ANALYZE COPY labels TO 'out.parquet'",
        "SELECT 1; SELECT 2",
        "ATTACH 'other.db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "",
    ],
)
def test_only_a_single_select_is_run(catalog, query):
    with pytest.raises(ConfigError, match="one SELECT at a time"):
        catalog.sql(query)


@pytest.mark.parametrize("source", ["read_text('{}')", "read_csv('{}')", "'{}'"])
def test_no_file_outside_the_data_set_can_be_read(catalog, tmp_path, source):
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="disabled by configuration"):
        catalog.sql(f"SELECT * FROM {source.format(secret)}")


def test_a_mistake_in_sql_is_reported_with_the_views(catalog):
    with pytest.raises(ConfigError, match=r"(?s)nope.*The views are: outcomes, labels, rejections"):
        catalog.sql("SELECT nope FROM labels")
    with pytest.raises(ConfigError, match="nowhere"):
        catalog.sql("SELECT * FROM nowhere")
    with pytest.raises(ConfigError):
        catalog.sql("SELECT * FROM labels WHERE status = $status")


def test_damage_behind_a_whole_footer_is_reported_when_it_is_met(tmp_path, build):
    light = commit_part(tmp_path, build.make_part(rows=40)).light
    raw = bytearray(light.read_bytes())
    raw[4:3000] = bytes(byte ^ 0x5A for byte in raw[4:3000])
    light.write_bytes(raw)
    with Catalog(tmp_path) as catalog:
        assert catalog.problems == ()
        with pytest.raises(ShardError, match="damaged or gone"):
            catalog.sql("SELECT * FROM outcomes")


def test_files_from_before_a_column_are_read_beside_those_that_have_it(tmp_path, build):
    old = tmp_path / "old.parquet"
    commit_part(tmp_path, PartResult("old", build.RECIPE, (build.make_label(3),)))
    commit_part(tmp_path, PartResult("new", build.RECIPE, (build.make_label(1),)))
    light = tmp_path / "labels" / build.RECIPE / "old.light.parquet"
    table = pq.read_table(light)
    pq.write_table(table.drop_columns([name for name in schema.LATER if name in table.column_names]), old)
    old.replace(light)
    with Catalog(tmp_path) as catalog:
        found = catalog.sql("SELECT part, episode, frame, time_s FROM labels ORDER BY part").to_pylist()
    assert not catalog.problems
    assert found == [
        {"part": "new", "episode": "toy/0", "frame": 1, "time_s": 0.1},
        {"part": "old", "episode": None, "frame": None, "time_s": None},
    ]
    with DataSet.open(tmp_path) as opened:
        assert [label.sample.moment for label in opened.labels()] == [Moment("toy/0", "high", 1, 0.1), None]


def test_a_folder_that_is_not_there_is_reported(tmp_path):
    with pytest.raises(ConfigError, match=r"no data folder at .*nowhere"):
        Catalog(tmp_path / "nowhere")


def test_a_data_folder_may_have_a_quote_in_its_name(tmp_path, build):
    data = tmp_path / "ada's data"
    commit_part(data, build.make_part())
    with Catalog(data) as catalog:
        assert count(catalog, "outcomes") == 12
