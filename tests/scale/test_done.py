"""What is done already: planning, opening, querying, training and reviewing open no file more often than they must."""

import os
import time

import pytest

from benchmarks.scale_parts import lineage, make
from ivm_data.engine.labeling_run import LabelingRun, with_parts
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.review.session import ReviewSession
from ivm_model.data.training_index import index_of
from ivm_model.data.training_rows import RowsConfig
from storage.catalog import Catalog
from storage.data_set import DataSet

SIZES = (24, 48)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Two data sets with all parts of their manifests, an hour old and opened before."""
    made = [make(tmp_path_factory.mktemp("done"), parts) for parts in SIZES]
    for one in made:
        for path in one.data.rglob("*"):
            os.utime(path, (time.time() - 3600,) * 2)
        DataSet.open(one.data).close()
    return made


@pytest.fixture
def counted(done, watched):
    """What some work on each of the two opens: light files, heavy ones, all Parquet files, listings of folders."""

    def counted(work):
        found = []
        for made in done:
            with watched(made.data) as seen:
                work(made)
            kinds = [seen.of(f"{kind}.parquet") for kind in (".light", ".heavy", "")]
            found.append((*kinds, seen.folders.total()))
        return found

    return counted


def test_planning_a_run_that_is_done_opens_no_file_and_lists_as_often(counted):
    def plan(made):
        run = with_parts(LabelingRun(made.data, (), recipe("demo"), lineage(), plan=made.plan), ())
        assert (run.known, run.open_parts()) == (run.pairs, []) == (10 * len(made.plan.parts), [])

    (*files, few_listed), (*more_files, more_listed) = counted(plan)
    assert files == more_files == [0, 0, 0]
    assert few_listed == more_listed <= 13


def test_a_catalog_opens_as_many_files_of_many_parts_as_of_few(counted):
    few, more = counted(lambda made: Catalog(made.data).close())
    assert few == more
    assert few[2] <= 16  # Those whose columns DuckDB looks at.


def test_a_query_goes_over_the_files_once(done, watched):
    for made, parts in zip(done, SIZES, strict=True):
        with Catalog(made.data) as catalog:
            catalog.sql("SELECT count(*) FROM labels")
            with watched(made.data) as seen:
                assert catalog.sql("SELECT count(*) AS n FROM labels").to_pylist() == [{"n": 10 * parts}]
        # DuckDB opens a file twice, which the kernel tells of as once where nothing comes between; the first one more.
        assert parts <= seen.of(".light.parquet") <= 2 * parts + 6
        assert seen.of(".parquet") == seen.of(".light.parquet") and not seen.folders


@pytest.mark.parametrize(("most", "kept"), [(SIZES[0], True), (SIZES[0] - 1, False)])
def test_footers_are_kept_between_queries_up_to_a_number_of_light_files(done, monkeypatch, most, kept):
    monkeypatch.setattr("storage.catalog.REMEMBERED", most)
    with Catalog(done[0].data) as catalog:
        setting = "SELECT value FROM duckdb_settings() WHERE name = 'parquet_metadata_cache'"
        assert catalog.sql(setting).to_pylist() == [{"value": str(kept).lower()}]


def test_the_start_of_a_training_reads_light_files_in_one_pass_from_opening_to_its_rows(counted):
    def start(made):
        with DataSet.open(made.data) as data:
            snapshot = data.freeze().name
            assert len(index_of(data.at(None, snapshot), RowsConfig(snapshot=snapshot)))

    few, more = counted(start)
    light, heavy, files, listed = (high - low for low, high in zip(few, more, strict=True))
    assert light <= 2 * (SIZES[1] - SIZES[0])  # DuckDB opens a file for its footer and for its columns.
    assert (heavy, files, listed) == (0, light, 0)
    assert more[1] == 0


def test_the_review_page_starts_with_a_pass_beside_the_footers_and_its_queue_takes_few(counted):
    sessions = {}

    def start(made):
        sessions[made.data] = ReviewSession(made.data, "anna")

    def queue(made):
        assert len(sessions[made.data].queue()["items"]) == min(200, 10 * len(made.plan.parts))

    # How many labels there are, and footers; the ranking, its rows, agreement, and what three filters offer. A pass may
    # open each file twice.
    for work, passes in ((start, 4), (queue, 13)):
        few, more = counted(work)
        light, heavy, files, listed = (high - low for low, high in zip(few, more, strict=True))
        assert light <= passes * (SIZES[1] - SIZES[0])
        assert (heavy, files, listed) == (0, light, 0)
