"""What each cleaning rule and each signal is worth, on labels whose truth is known.

Run: python -m benchmarks.cleaning [--scenes 400] [--data build/cleaning] [--processes 2]

A label is wrong where its mask overlaps the truth with an IoU below 0.5. Combined scores are fitted on four fifths of
the images and scored on the rest, five times; intervals are at 95 % and resample images. The labels stay in `--data`:
a run that was stopped labels what is missing. With `--scenes 0` it reads any data set with human masks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.results import label_in_processes, with_interval
from ivm_data.engine.labeling_run import prepare
from ivm_data.quality import cleaning
from ivm_data.quality.measures import measure
from ivm_data.quality.rules import RULES
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from ivm_model.metrics import bootstrap
from storage.catalog import Catalog
from storage.common.markdown import markdown_table
from storage.pixels.overlap import RIGHT_IOU

Measure = Callable[[np.ndarray, np.ndarray], float]
"""(wrong_N, suspect_N) -> a score."""

COVERAGES = (0.7, 0.9)
RESAMPLES = 500
SCORES = ("verification", "agreement", "predicted_iou", "stability", "p_yes_kept", "p_yes_complement", "candidate")
SCORES += ("margin", "grounding", "presence", "relation", "understood")
MODELS = {
    "logistic regression": make_pipeline(
        SimpleImputer(add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=0.1, max_iter=1000),
    ),
    "gradient boosting": HistGradientBoostingClassifier(max_depth=3, learning_rate=0.05, max_iter=100, random_state=0),
}
_BOX_IOU, _AREA_Z = "box_mask_disagreement", "area_outlier"


@dataclass(frozen=True, eq=False)
class Table:
    """N labels with a mask and a known truth.

    Attributes:
        wrong_N: the mask overlaps the truth with an IoU below 0.5.
        image_N: image of each, as a number.
        signals: name -> value_N, NaN where unknown.
        flags: rule name -> flagged_N.
    """

    wrong_N: np.ndarray
    image_N: np.ndarray
    signals: dict[str, np.ndarray]
    flags: dict[str, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=400, help="images of the world, three instructions each")
    parser.add_argument("--data", type=Path, default=Path("build/cleaning"), help="folder of the labels")
    parser.add_argument("--processes", type=int, default=2, help="that label what is missing")
    options = parser.parse_args()
    if options.scenes:
        label(options.data, options.scenes, options.processes)
    table = read(options.data)
    images = len(set(table.image_N.tolist()))
    print(
        f"{len(table.wrong_N)} masks on {images} images, {table.wrong_N.mean():.1%} of them wrong (IoU < {RIGHT_IOU})"
    )
    print_rules(table)
    print_signals(table)


def label(data: Path, scenes: int, processes: int) -> None:
    manifest = data / "world" / "manifest.jsonl"
    if not manifest.exists():
        write_world(manifest.parent, "test", scenes=scenes, pairs_per_scene=3, human_share=0.0)
    label_in_processes(prepare(manifest, data, recipe("demo", {}), part_size=64), processes)


def read(data: Path) -> Table:
    measure(data)
    values = {
        name: preview(data, name, {key: limit}) for name, key, limit in ((_BOX_IOU, "iou", 1.01), (_AREA_Z, "z", 0.0))
    }
    with Catalog(data) as catalog:
        rows = catalog.sql(f"""
            SELECT recipe, sample_id, human_iou, image_sha, components, largest, quality, {", ".join(SCORES)}
            FROM labels JOIN measures USING (recipe, sample_id, image_sha)
            WHERE human_iou IS NOT NULL AND labels.area > 0 ORDER BY sample_id""")
    keys = list(zip(rows["recipe"].to_pylist(), rows["sample_id"].to_pylist(), strict=True))
    signals = {name: rows[name].to_numpy().astype(float) for name in ("quality", *SCORES, "components", "largest")}
    signals["box IoU"] = np.array([values[_BOX_IOU].get(key, np.nan) for key in keys])
    signals["robust z of log area"] = np.abs([values[_AREA_Z].get(key, np.nan) for key in keys])
    flags = {
        rule.name: np.array([key in found for key in keys])
        for rule in RULES
        for found in (preview(data, rule.name, {}),)
    }
    image_N = np.unique(rows["image_sha"].to_pylist(), return_inverse=True)[1]
    return Table(rows["human_iou"].to_numpy() < RIGHT_IOU, image_N, signals, flags)


def preview(data: Path, rule: str, values: dict[str, float]) -> dict[tuple[str, str], float]:
    """(recipe, sample id) -> value of the labels that a rule finds."""
    chosen = cleaning.rule(rule)
    with Catalog(data) as catalog:
        rows = catalog.sql(chosen.query.sql, **chosen.query.bind(values)).to_pylist()
    return {(row["recipe"], row["sample_id"]): row["value"] for row in rows}


def print_rules(table: Table) -> None:
    """A rule is worth something where it is right of what it flags more often than a guess."""
    flags = table.flags | {"any rule": np.any(list(table.flags.values()), axis=0)}
    rows = []
    for name, flag_N in flags.items():
        shares = (flag_N, table.wrong_N[flag_N], flag_N[table.wrong_N], ~table.wrong_N[~flag_N])
        rows.append([name, *map(percent, map(mean, shares)), lift(table, flag_N) if flag_N.any() else "-"])
    head = ["rule", "flagged", "precision of flags", "wrong labels found", "precision of the rest"]
    print("\n" + markdown_table([*head, "precision of flags - share of wrong labels"], rows))


def lift(table: Table, flag_N: np.ndarray) -> str:
    return interval(table, lambda n: mean(table.wrong_N[n][flag_N[n]]) - table.wrong_N[n].mean())


def print_signals(table: Table) -> None:
    """AUC is the chance that a wrong label looks worse than a right one; a signal is turned to the side that helps."""
    scores = {name: oriented(values, table.wrong_N) for name, values in table.signals.items()}
    scores |= {f"combined: {name}": out_of_fold(model, table) for name, model in MODELS.items()}

    def cells(name: str, measured: Measure) -> list[str]:
        alone_N, suspect_N = scores["verification"], scores[name]
        gain = interval(
            table, lambda n: measured(table.wrong_N[n], suspect_N[n]) - measured(table.wrong_N[n], alone_N[n])
        )
        return [f"{measured(table.wrong_N, suspect_N):.3f}", "" if name == "verification" else gain]

    measures = {"AUC": roc_auc_score} | {f"precision at {c:.0%}": partial(precision, coverage=c) for c in COVERAGES}
    best_first = sorted(scores, key=lambda name: -roc_auc_score(table.wrong_N, scores[name]))
    rows = [[name, *(cell for one in measures.values() for cell in cells(name, one))] for name in best_first]
    head = ["score", *(text for name in measures for text in (name, "against verification"))]
    print("\n" + markdown_table(head, rows))


def oriented(value_N: np.ndarray, wrong_N: np.ndarray) -> np.ndarray:
    """Higher means more suspect; what is unknown counts as the median."""
    known = ~np.isnan(value_N)
    filled_N = np.where(known, value_N, np.median(value_N[known]) if known.any() else 0.0)
    return filled_N if roc_auc_score(wrong_N, filled_N) >= 0.5 else -filled_N


def out_of_fold(model: object, table: Table) -> np.ndarray:
    """P(wrong) of each label from a model that saw none of its image; quality, itself a combination, is left out."""
    x_NF = np.stack([values for name, values in table.signals.items() if name != "quality"], axis=1)
    folds = GroupKFold(5, shuffle=True, random_state=0)
    return cross_val_predict(model, x_NF, table.wrong_N, groups=table.image_N, cv=folds, method="predict_proba")[:, 1]


def interval(table: Table, difference: Callable[[np.ndarray], float]) -> str:
    """A difference over all rows, given as their indices, with its interval."""
    drawn = bootstrap.interval(difference, table.image_N, resamples=RESAMPLES)
    return with_interval(difference(np.arange(len(table.wrong_N))), drawn)


def precision(wrong_N: np.ndarray, suspect_N: np.ndarray, coverage: float) -> float:
    """Share of right labels among the least suspect ones."""
    kept = np.argsort(suspect_N, kind="stable")[: max(1, round(coverage * len(wrong_N)))]
    return float(1 - wrong_N[kept].mean())


def mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.1%}"


if __name__ == "__main__":
    main()
