"""Looking for parts and committing them: the folder of the labels is not listed for each part."""

import shutil
from dataclasses import replace

import pytest

from benchmarks.scale_parts import lineage, result
from flows import progress
from ivm_data.engine.labeling import read
from ivm_data.engine.labeling_run import LabelingRun
from ivm_data.engine.outcomes import manifest_counts
from ivm_data.recipes.labeling_recipes import recipe
from storage.parts import files, layout, part_files
from storage.parts.shards import commit_part, is_committed
from storage.upkeep.compact import compact


def run_of(made):
    return LabelingRun(made.data, tuple(made.plan.parts), recipe("demo"), lineage(), plan=made.plan)


def labels_of(made):
    return made.data / "labels" / lineage().recipe


@pytest.mark.parametrize("compacted", [False, True])
def test_the_folder_is_listed_as_often_for_many_parts_as_for_few(few, many, tmp_path, watched, compacted):
    listed = []
    for made in (few, many):
        made = replace(made, data=shutil.copytree(made.data, tmp_path / str(len(listed))))
        if compacted:
            compact(made.data)
        run, half = run_of(made), len(made.plan.parts) // 2
        with watched(made.data) as seen:
            assert len(run.open_parts()) == half
            assert sum(run.has(part) for part in run.parts) == half
            assert [read(run, part) for part in run.parts[:half]] == [None] * half
            assert manifest_counts(run).statuses.total() == half * 10
        listed.append(seen.folders[labels_of(made)])
    assert listed[0] == listed[1] <= 8


def test_what_a_manifest_ended_as_is_counted_in_one_pass(few, many, watched):
    opened = []
    for made in (few, many):
        run = run_of(made)
        with watched(made.data) as seen:
            manifest_counts(run)
        opened.append([seen.of(f".{kind}.parquet") for kind in ("light", "heavy")])
    # Footers, and two openings for the pass; of one file more, whose columns the views are made of.
    light, heavy = (high - low for low, high in zip(*opened, strict=True))
    assert light <= 3 * (24 - 3) and heavy <= 24 - 3


@pytest.mark.parametrize(("parts", "times"), [(3, 1), (6, 2)])
def test_a_run_that_finds_everything_done_does_not_count_it_twice(few, monkeypatch, parts, times):
    calls = []
    monkeypatch.setattr(progress, "manifest_counts", lambda run: (calls.append(run), manifest_counts(run))[1])
    run = replace(run_of(few), parts=tuple(few.plan.parts[:parts]), pairs=10 * parts)
    shown = progress.LabelingProgress.of(run)
    first = (shown.statuses, shown.reasons)
    shown.settle(run)
    assert len(calls) == times and (shown.statuses, shown.reasons) == first
    assert shown.reasons.total() == 30


@pytest.mark.parametrize("compacted", [False, True])
def test_a_commit_lists_no_folder_beside_many_others(copy, watched, monkeypatch, compacted):
    monkeypatch.setattr(files, "NAMES_A_TURN", 1)
    if compacted:
        compact(copy.data)
    waiting = [result(copy, part) for part in copy.plan.parts[24:34]]
    assert [commit_part(copy.data, waiting[0]).fresh for _ in range(2)] == [True, False]
    with watched(copy.data) as seen:
        assert all(commit_part(copy.data, one).fresh for one in waiting[1:])
        assert not any(commit_part(copy.data, one).fresh for one in waiting)
    assert not seen.folders


def test_a_folder_is_searched_for_remains_again_after_as_many_commits_as_it_is_large(copy, monkeypatch):
    monkeypatch.setattr(files, "NAMES_A_TURN", 24)
    folder = labels_of(copy)
    waiting = [result(copy, part) for part in copy.plan.parts[24:30]]
    commit_part(copy.data, waiting[0])
    remains = folder / ".x.light.parquet.0123abcd.ivm-tmp"
    remains.write_text("half")
    seen = []
    for one in waiting[1:]:
        commit_part(copy.data, one)
        seen.append(remains.exists())
    assert seen == [True, True, False, False, False]


def test_a_part_that_another_process_compacts_is_found_by_one_that_listed_before(copy):
    name, folder = copy.plan.parts[0].name, labels_of(copy)
    assert part_files.find(folder, layout.LIGHT, name) is None
    compact(copy.data)
    assert not (folder / f"{name}{layout.LIGHT}").exists()
    path, part = part_files.find(folder, layout.LIGHT, name)
    assert part.name == name and is_committed(copy.data, lineage().recipe, name)
    path.unlink()
    assert not is_committed(copy.data, lineage().recipe, name)
