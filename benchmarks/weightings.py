"""Reproduce docs/weightings.md: the masking model trained on the engine's own labels, one arm for each weighting.

    python -m benchmarks.weightings --seeds 5

It trains on the labels that `benchmarks.results` makes, and makes them where they are missing. An arm of one seed takes
about a minute and a half of a core; seeds run in processes of their own. A seed is written down as soon as its arms
are trained; a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from benchmarks import arms, judges
from benchmarks.results import add_world_options, labeled_world
from benchmarks.weighting_experiment import ARMS, Comparison, ComparisonData, prepare
from ivm_data.recipes.training_recipes import train_config
from ivm_model.data.row_reader import RowReader
from ivm_model.data.training_index import index_rows
from ivm_model.data.training_rows import TrainingRow
from ivm_model.metrics.evaluation import evaluate_labels
from ivm_model.train.trainer import TrainConfig
from storage.catalog import Catalog
from storage.common.markdown import markdown_table
from storage.records import Status

PAGE = Path(__file__).parents[1] / "docs" / "weightings.md"
PICTURE = "weightings-d.png"
NOISY = (Status.ACCEPTED, Status.NO_TARGET, Status.REVIEW, Status.REJECTED)
"""Every label that has a mask, also those that the gate would throw away: the engine's own noise."""
BASELINES = ("uniform", "verification", "verification_ratio", "quality")
EXPERTS = """
    select p.expert, count(*) as rows, avg(p.human_iou) as giou, avg(l.human_iou) as consensus
    from proposals p join labels l using (sample_id, recipe)
    where p.sample_id in (select unnest($ids)) group by p.expert order by giou desc
"""


@dataclass(frozen=True)
class Trial:
    """The labels, how long an arm trains, and where its results are written down."""

    data: Path
    steps: int
    folder: Path

    @property
    def config(self) -> TrainConfig:
        """More than a third of the scenes is kept to score on."""
        changes = {"generator.steps": self.steps, "rows.test_share": 0.35}
        config = train_config(self.data, self.folder / "unused", changes)
        return replace(config, rows=replace(config.rows, statuses=NOISY))

    def result(self, name: str) -> Path:
        """Where a result is written down."""
        return self.folder / f"{self.steps}-{name}.json"


def main() -> None:
    """Train what is missing of every arm and seed, write the page."""
    options = _options()
    run, _ = labeled_world(options.work, options.scenes, options.human_share, options.processes)
    trial = Trial(run.data, options.steps, options.work / "weightings" / run.recipe_hash)
    work = [partial(_judge, trial), *(partial(_train, trial, seed, options.arms) for seed in range(options.seeds))]
    arms.in_processes(work, options.processes)
    PAGE.write_text("\n\n".join(_sections(trial, options)) + "\n")
    print(PAGE.read_text())


@cache
def _prepared(trial: Trial) -> ComparisonData:
    """A process that trains several seeds encodes its rows once."""
    return prepare(trial.config)


def _judge(trial: Trial) -> None:
    path = trial.result("judged")
    if not path.exists():
        arms.write(path, arms.judge(_prepared(trial)))


def _train(trial: Trial, seed: int, names: Sequence[str]) -> None:
    began = time.perf_counter()
    trained = arms.train(trial.result(f"seed-{seed}"), partial(_prepared, trial), seed, names)
    print(f"seed {seed}, {len(trained)} arms: {time.perf_counter() - began:.0f} s", flush=True)


def _sections(trial: Trial, options: argparse.Namespace) -> list[str]:
    index = index_rows(trial.data, trial.config.rows)
    humans, machines, test = len(index.human), len(index.machine), index.of("test")
    test_rows = list(RowReader(test, trial.config.feed.buffer).stream({}))
    seeds = [arms.read(trial.result(f"seed-{seed}")) for seed in range(options.seeds)]
    comparison, judged = arms.comparison(seeds, options.arms), arms.read(trial.result("judged"))
    judges.draw(PAGE.parent / "images" / PICTURE, {"the engine's own labels": judged})
    wrong = int(judges.wrong(judged).sum())
    return [
        _head(options, sum(seed["seconds"] for seed in seeds)),
        f"- **Rows.** {humans} human and {machines} machine labels, {wrong} of the machine's "
        f"({wrong / machines:.0%}) with an IoU under 0.5: all that the gate accepted, sent to review or rejected. "
        f"{len(test_rows)} test pairs are on other scenes.\n"
        f"- **Training.** {options.seeds} seeds, {options.steps} steps in every arm.\n"
        "- **Gains** are paired by row and seed, with a 95 % bootstrap interval over both, bold where it leaves out 0. "
        "Nothing is corrected for the number of comparisons.",
        "## gIoU and gains",
        _scores(comparison, options.arms),
        "## gIoU by kind of instruction",
        "Mean over seeds:",
        _by_kind(comparison, options.arms),
        "## The engine and its experts",
        "The labeling engine and its single experts on the same test pairs. An expert has no mask where the engine "
        "found no target or rejected the input. The last column is the engine's gIoU on the rows that the expert has.",
        markdown_table(("labels", "rows", "gIoU", "consensus, same rows"), _engine(trial.data, test_rows)),
        "## Right against wrong labels, by score",
        "AUC of each score between right and wrong machine labels: all, those with a mask, and statements that there "
        "is no target; and the mean score of the right ones. D is that of the first seed.",
        markdown_table(
            ("score", "all", "masks", "no target", "mean, right masks", "mean, right no target"), _judges(judged)
        ),
        f"![D of right and wrong machine labels](images/{PICTURE})",
        "## Audits of the discriminators",
        "One line a seed:",
        markdown_table(tuple(vars(comparison.audits[0])), [tuple(vars(each).values()) for each in comparison.audits]),
    ]


def _scores(comparison: Comparison, names: Sequence[str]) -> str:
    baselines = [arm for arm in BASELINES if arm in names]
    gains = [[arms.gain(line) for line in comparison.summary(baseline)] for baseline in baselines]
    cells = [(line.arm, arms.score(line), line.ciou) for line in comparison.summary(names[0])]
    head = ("arm", "gIoU", "cIoU", *(f"gain over `{baseline}`" for baseline in baselines))
    return markdown_table(head, [(*left, *right) for left, *right in zip(cells, *gains, strict=True)])


def _judges(judged: judges.Judged) -> list[tuple[str, *tuple[float, ...]]]:
    empty_N, right_N = np.array(judged["area"]) == 0, judges.right(judged)
    cells = []
    for judge, field in judges.JUDGES.items():
        score_N = np.array(judged[field], float)
        aucs = [judges.group_auc(judged, judge, each_N) for each_N in (empty_N | True, ~empty_N, empty_N)]
        means = [float(score_N[right_N & each_N].mean()) for each_N in (~empty_N, empty_N)]
        cells.append((judge, *aucs, *means))
    return cells


def _by_kind(comparison: Comparison, names: Sequence[str]) -> str:
    kinds = sorted({kind for run in comparison.runs for kind in run.scores.by_kind})
    of_arm = {arm: [run.scores.by_kind for run in comparison.runs if run.arm == arm] for arm in names}
    cells = [
        (arm, *(float(np.mean([scores[kind].giou for scores in seeds])) for kind in kinds))
        for arm, seeds in of_arm.items()
    ]
    return markdown_table(("arm", *kinds), cells)


def _engine(data: Path, test: Sequence[TrainingRow]) -> list[tuple[str, int, float, float]]:
    fused = evaluate_labels(test).overall.giou
    with Catalog(data) as catalog:
        experts = catalog.sql(EXPERTS, ids=[row.sample_id for row in test]).to_pylist()
    alone = [(f"`{row['expert']}` alone", row["rows"], row["giou"], row["consensus"]) for row in experts]
    return [("consensus of both", len(test), fused, fused), *alone]


def _head(options: argparse.Namespace, seconds: float) -> str:
    named = "" if options.arms == list(ARMS) else f" --arms {' '.join(options.arms)}"
    return (
        "# Weightings on the engine's own noise\n\n"
        "What is each weighting worth on the labels that the engine makes?\n\n"
        f"Written by `python -m benchmarks.weightings --scenes {options.scenes} --seeds {options.seeds} "
        f"--steps {options.steps}{named}` on {os.cpu_count()} CPU cores, {seconds / 3600:.1f} process hours, from the "
        "labels of [results.md](results.md)."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_world_options(parser)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    return parser.parse_args()


if __name__ == "__main__":
    main()
