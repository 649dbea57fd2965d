"""What a report reads of the pixels: those that it draws, in one go for all of its sections."""

from dataclasses import replace

from benchmarks.scale_parts import result
from ivm_data.report import gallery
from ivm_data.report.build import write_report
from ivm_data.report.gallery import Section, thumbnails
from storage.catalog import Catalog
from storage.parts.shards import commit_part
from storage.upkeep.compact import compact


def test_heavy_files_are_gone_through_once_for_all_sections(few, many, watched, tmp_path):
    opened = []
    for made in (few, many):
        with watched(made.data) as seen:
            write_report(made.data, tmp_path / f"{len(opened)}.html", pictures=3)
        opened.append(seen.of(".heavy.parquet") / (len(made.plan.parts) // 2))
    # Once to open the data set, then for masks, images, and images that were not found: DuckDB opens a file twice.
    assert opened[1] <= opened[0] < 1 + 2 * 4


def test_images_are_compared_among_the_first_labels_and_among_more_where_those_show_too_few(few, tmp_path, monkeypatch):
    part = result(few, few.plan.parts[0])
    image = part.outcomes[0].sample.image
    same = [replace(one, sample=replace(one.sample, image=image)) for one in part.outcomes[:7]]
    commit_part(tmp_path, replace(part, outcomes=(*same, *part.outcomes[7:])))
    monkeypatch.setattr(gallery, "MORE", 2)
    asked, sql = [], Catalog.sql
    monkeypatch.setattr(Catalog, "sql", lambda *args, **given: asked.append(given.get("among")) or sql(*args, **given))
    found = []
    with Catalog(tmp_path) as catalog:
        for at_first in (1, 100):
            monkeypatch.setattr(gallery, "LABELS_AN_IMAGE", at_first)
            (shown,) = thumbnails(catalog, part.recipe, [Section("", "", "true", "position")], 3)
            found.append([thumbnail.label["position"] for thumbnail in shown])
    assert found == [[0, 7, 8]] * 2
    assert [one for one in asked if one] == [3, 6, 12, 300]


def test_an_image_that_lies_with_a_label_of_another_part_is_found(few, tmp_path):
    first, second = (result(few, part) for part in few.plan.parts[:2])
    image = first.outcomes[0].sample.image
    twin = replace(second.outcomes[0], sample=replace(second.outcomes[0].sample, image=image))
    for part in (first, replace(second, outcomes=(twin, *second.outcomes[1:]))):
        commit_part(tmp_path, part)
    compact(tmp_path)
    section = Section("", "", f"part = '{second.part}' AND position = 0", "sample_id")
    with Catalog(tmp_path) as catalog:
        (shown,) = thumbnails(catalog, first.recipe, [section], 1)
    assert [thumbnail.label["image"] for thumbnail in shown] == [image]
