"""The report of a training: a record, and a model card for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ivm_model.metrics.bootstrap import interval
from storage.display import markdown

if TYPE_CHECKING:
    from ivm_model.discriminator.audit import Audit
    from ivm_model.discriminator.reliability_bins import ReliabilityBin
    from ivm_model.metrics.evaluation import Evaluation
    from ivm_model.metrics.mask_scores import MaskScores


@dataclass(frozen=True)
class TrainReport:
    """Everything worth knowing about one training.

    Attributes:
        checkpoint: directory of the checkpoint.
        data_hash: content hash of the training rows.
        base_models: `model@revision` by role.
        rows: numbers of human, machine and test rows.
        parameters: numbers of trained and frozen parameters.
        seconds: wall-clock time of each phase.
        loss: the weighted loss of each generator step.
        mean_weight: mean weight of the machine rows.
        snapshot: name of the snapshot that the rows are of.
        skipped: rows that could not be read.
        thinned: option -> (rows before, rows after), where an option left rows out.
        validation: gIoU on the validation rows and step of the model that was kept; None where the last was.
        discriminator: `discriminator@content-hash` under which the weights were appended; "" without stage I.
        audit: of the discriminator; None without stage I.
        reliability: its D against being human, bin by bin.
        scores: of the model on the test rows; None without test rows.
        label_scores: of the engine's own labels on the same rows.
        start: the checkpoint that was gone on from, as `folder@weights`; "" where the training began anew.
        start_scores: of the checkpoint that was gone on from, on the same rows; None where the training began anew.
    """

    checkpoint: str
    weighting: str
    seed: int
    data_hash: str
    base_models: Mapping[str, str]
    rows: Mapping[str, int]
    parameters: Mapping[str, int]
    seconds: Mapping[str, float]
    loss: tuple[float, ...]
    mean_weight: float
    validation: Mapping[str, float] | None = None
    snapshot: str = ""
    skipped: int = 0
    thinned: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    discriminator: str = ""
    audit: Audit | None = None
    reliability: tuple[ReliabilityBin, ...] = ()
    scores: Evaluation | None = None
    label_scores: Evaluation | None = None
    start: str = ""
    start_scores: Evaluation | None = None

    def facts(self) -> dict[str, Any]:
        """JSON values only: NaN becomes None, the loss curve its ends, the scores lose their single IoUs."""
        facts = asdict(self)
        facts["loss"] = {"first": _head(self.loss), "last": _head(self.loss[::-1])}
        for name in ("scores", "label_scores", "start_scores"):
            if facts[name]:
                del facts[name]["iou_N"]
        del facts["checkpoint"]
        plain: dict[str, Any] = _plain(facts)
        return plain


def model_card(report: TrainReport) -> str:
    """A README in Markdown."""
    rows, parameters = report.rows, report.parameters
    sections = [
        "# Masking model",
        "Image and instruction -> heatmap of the pixels that the instruction needs (IVM, arXiv 2405.19783), "
        f"trained with weighting `{report.weighting}`, seed {report.seed}.",
        _table(
            ("", "value"),
            [
                ("data, content hash", f"`{report.data_hash}`"),
                ("data, snapshot", f"`{report.snapshot}`"),
                ("rows: human / machine / test", f"{rows['human']} / {rows['machine']} / {rows['test']}"),
                *((f"left out by `{name}`", f"{a - b:,} of {a:,}") for name, (a, b) in report.thinned.items()),
                *([("unreadable rows", str(report.skipped))] if report.skipped else []),
                *([("went on from", markdown(report.start))] if report.start else []),
                *((f"base model: {role}", markdown(name)) for role, name in report.base_models.items()),
                ("parameters: trained / frozen", f"{parameters['trained']:,} / {parameters['frozen']:,}"),
                ("mean weight of machine rows", f"{report.mean_weight:.3f}"),
                ("seconds", ", ".join(f"{phase} {value:.0f}" for phase, value in report.seconds.items())),
            ],
        ),
        "## Scores on held-out truth",
        _scores(report),
        _start(report),
        "## Audit of the discriminator",
        _audit(report.audit),
        _reliability(report.reliability),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _scores(report: TrainReport) -> str:
    if report.scores is None or report.label_scores is None:
        return "No row with held-out truth was set aside."
    others = [each for each in (report.label_scores, report.start_scores) if each]
    rows = [_score_row("all", report.scores.overall, [each.overall for each in others])]
    for group in ("by_kind", "by_difficulty"):
        for name, ours in getattr(report.scores, group).items():
            rows.append(_score_row(name, ours, [getattr(each, group)[name] for each in others]))
    names = ("engine's own label, gIoU", "before this training, gIoU")[: len(others)]
    return _table(("kind or difficulty", "rows", "gIoU (95 %)", "cIoU", *names), rows)


def _score_row(name: str, ours: MaskScores, others: Sequence[MaskScores]) -> tuple[str, ...]:
    interval = f"{ours.giou:.3f} ({ours.giou_low:.3f} to {ours.giou_high:.3f})"
    return markdown(name), str(ours.count), interval, f"{ours.ciou:.3f}", *(f"{each.giou:.3f}" for each in others)


def _start(report: TrainReport) -> str:
    """What the training brought over the checkpoint that it went on from, paired by row."""
    if report.scores is None or report.start_scores is None:
        return ""
    gain_N = np.subtract(report.scores.iou_N, report.start_scores.iou_N)
    low, high = interval(lambda rows: float(gain_N[rows].mean()), len(gain_N))
    return f"Gain over the checkpoint that it went on from: gIoU {gain_N.mean():+.3f} ({low:+.3f} to {high:+.3f})."


def _audit(audit: Audit | None) -> str:
    if audit is None:
        return "This weighting asks no discriminator."
    rows = [(name.replace("_", " "), "unknown" if math.isnan(x) else f"{x:.3f}") for name, x in asdict(audit).items()]
    return _table(("audit", "value"), rows)


def _reliability(bins: tuple[ReliabilityBin, ...]) -> str:
    if not bins:
        return ""
    rows = [
        (f"{each.low:.1f} to {each.high:.1f}", str(each.count), f"{each.mean_d:.3f}", f"{each.human:.3f}")
        for each in bins
    ]
    head = "D against being human, on folds that did not train it; human views make half of the weight:"
    return f"{head}\n\n" + _table(("D", "views", "mean D", "share of humans"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _head(loss: tuple[float, ...]) -> float:
    """Mean of the first tenth."""
    count = max(1, len(loss) // 10)
    return sum(loss[:count]) / count if loss else math.nan


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
