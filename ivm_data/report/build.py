"""A labeled data set -> one HTML file with its numbers, charts and pictures; it loads nothing from anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ivm_data.outputs import REPORT
from ivm_data.quality.little_accepted import advice
from ivm_data.quality.promised import sentence
from ivm_data.quality.reviewer_agreement import agreements
from ivm_data.report import charts
from ivm_data.report.gallery import SECTIONS, data_uri, thumbnails
from ivm_data.report.report_facts import GROUPS, FactRow, Facts
from ivm_data.report.strips import strips
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.disk.publish import write_text
from storage.errors import ConfigError
from storage.gates.gate import Calibrated
from storage.records import INPUT_STAGE
from storage.tables import recipes

MAX_SOURCES = 6
"""Sources whose area histogram is drawn; the largest."""


def write_report(
    data: Path,
    out: Path,
    title: str = "Label quality",
    recipe: str | None = None,
    pictures: int = 6,
    *,
    gate: str | None = None,
) -> Path:
    """Write the report of one recipe's labels; the same data set always gives the same bytes.

    Args:
        recipe: hash of the recipe; may be left out where the data set holds only one.
        pictures: labels on each section of the gallery.
        gate: name or hash of the gate that decides; see `storage.data_set.DataSet.open`.

    Raises:
        ConfigError: no data set, nothing labeled, a recipe that is not there, or an `out` that is a folder.
    """
    if out.is_dir():
        raise ConfigError(f"'{out}' is a folder; give the path of the HTML file to write, such as '{out}/report.html'")
    with DataSet.open(data, recipe, gate=gate) as opened, Catalog(opened) as catalog:
        decided = opened.gates.get(opened.recipe)
        promise = "" if decided is None else sentence(decided)
        config = recipes.load(data, opened.recipe)
        if decided is not None and isinstance(decided.quality, Calibrated):
            config = {**config, "calibration": decided.hash}
        page = _render(catalog, opened.recipe, title, pictures, config=config, promise=promise)
    return write_text(out, page)


def _render(
    catalog: Catalog, recipe: str, title: str, pictures: int, *, config: Mapping[str, Any], promise: str
) -> str:
    facts = Facts(catalog, recipe)
    reasons = facts.reasons()
    totals, calibration = facts.totals(), facts.named("calibration", held_out=facts.held_out)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(percent=_percent, score=_score)
    return environment.get_template("report.html").render(
        title=title,
        generator=REPORT,
        recipe=recipe,
        promise=promise,
        problems=catalog.problems,
        held_out=facts.held_out,
        exact=facts.exact,
        totals=totals,
        advice=_advice(config, reasons),
        ece=calibration[0]["ece"] if calibration else None,
        groups=[(name, facts.by(name)) for name in GROUPS],
        experts=facts.named("expert_reliability"),
        scores=[row for row in facts.named("score_auc") if row["auc"] is not None],
        reasons=reasons,
        reviews=facts.named("reviews_by_status"),
        agreements=agreements(catalog, recipe),
        stages=facts.named("stage_seconds"),
        lineage=facts.named("lineage"),
        curve=_curve(facts, totals),
        calibration=_calibration(calibration),
        areas=_areas(facts),
        strips=_strips(catalog, recipe),
        sections=list(zip(SECTIONS, thumbnails(catalog, recipe, SECTIONS, pictures), strict=True)),
    )


def _strips(catalog: Catalog, recipe: str) -> str | None:
    """Some episodes in time, as a data URI."""
    strips_HWC = strips(catalog, recipe)
    return None if strips_HWC is None else data_uri(strips_HWC)


def _advice(config: Mapping[str, Any], rows: list[FactRow]) -> str:
    reasons: Counter[str] = Counter()
    for row in rows:
        reasons[row["reason"]] += 0 if row["stage"] == INPUT_STAGE else row["inputs"]
    return advice(config, reasons)


def _curve(facts: Facts, totals: FactRow) -> Markup | None:
    if not totals["known_masks"]:
        return None
    names = (("calibrated quality", "quality", "line"), ("two-sided verification", "verification", "line second"))
    series = [
        charts.Series(name, *charts.precision_at_coverage(facts.ranking(score)), style) for name, score, style in names
    ]
    points = []
    if totals["known_accepted"]:
        coverage, precision = totals["known_accepted"] / totals["known_masks"], totals["precision_accepted"]
        tip = f"the gate accepts {_percent(coverage)} of the masks with precision {_percent(precision)}"
        points = [charts.Point(coverage, precision, tip)]
    return charts.line_chart(series, points, ("masks kept, best first", "precision"))


def _calibration(bins: list[FactRow]) -> Markup | None:
    if not bins:
        return None
    most = max(row["labels"] for row in bins)
    points = [
        charts.Point(
            row["quality"],
            row["right_share"],
            f"{row['labels']} labels of quality {_score(row['quality'])}: {_percent(row['right_share'])} are right",
            row["labels"] / most,
        )
        for row in bins
    ]
    line = charts.Series("", [point.x for point in points], [point.y for point in points], "line")
    return charts.line_chart([line], points, ("calibrated quality", "share of right labels"), diagonal=True)


def _areas(facts: Facts) -> list[tuple[str, int, Markup]]:
    bins: dict[str, list[FactRow]] = {}
    for row in facts.named("area_histogram"):
        bins.setdefault(row["source"], []).append(row)
    counted = sorted(((sum(r["labels"] for r in rows), source, rows) for source, rows in bins.items()), reverse=True)
    return [(source, count, _area_chart(rows)) for count, source, rows in counted[:MAX_SOURCES]]


def _area_chart(rows: list[FactRow]) -> Markup:
    tips = [f"{r['labels']} labels cover {_percent(r['area_from'])} to {_percent(r['area_to'])}" for r in rows]
    return charts.histogram(
        [row["share"] for row in rows], ("share of the image that is kept", "share of labels"), tips
    )


def _percent(value: Any, digits: int = 0) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _score(value: Any, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
