"""Verdicts of a data set -> a judge in a folder, and its opinion of every label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ivm_data.quality.judge import DEFAULT, Judge, JudgeConfig, teach
from ivm_data.quality.judging import Measured, Progress, judge_labels, measure
from ivm_data.quality.verdicts import Verdicts, verdicts
from storage.common.markdown import markdown_table
from storage.data_set import DataSet
from storage.display import markdown
from storage.gates.book import WRITTEN

HEAD = ("of", "verdicts", "right", "AUC of the quality", "AUC of the judge", "difference, 95 %", "log loss", "judge's")


@dataclass(frozen=True)
class Trained:
    """What came of it.

    Attributes:
        measured: on the verdicts, each judged by a forest that did not see its image; "all" first.
        judged: labels that have its opinion now, and had none.
    """

    judge: Judge
    said: Verdicts
    measured: tuple[Measured, ...]
    judged: int

    @property
    def helps(self) -> bool:
        """Whether it says more of the verdicts than the quality that labeling wrote: its log loss is less."""
        return self.measured[0].judge_loss < self.measured[0].quality_loss

    def rows(self) -> list[tuple[str | float, ...]]:
        """What was measured, in the order of `HEAD`."""
        return [_row(one) for one in self.measured]


def train_judge(
    data: Path, out: Path, recipe: str = "", config: JudgeConfig = DEFAULT, progress: Progress = lambda _: None
) -> Trained:
    """Teach a judge, write its folder, and let it judge every label of its recipe.

    Args:
        recipe: hash of the recipe; may be left out where the data set holds only one.
        progress: told how many labels were judged since it was told last.

    Raises:
        ConfigError: too few verdicts, no labels, or several recipes.
    """
    with DataSet.open(data, recipe or None, gate=WRITTEN) as opened:
        said, owner = verdicts(opened), opened.recipe
    judge = teach(said, owner, config)
    measured = measure(judge, said)
    judge.save(out, _card(judge, measured))
    return Trained(judge, said, measured, judge_labels(data, judge, progress))


def _row(one: Measured) -> tuple[str | float, ...]:
    gain = f"{one.gain[0]:+.3f} to {one.gain[1]:+.3f}"
    return (one.of, one.labels, one.right, one.quality, one.judge, gain, one.quality_loss, one.judge_loss)


def _card(judge: Judge, measured: tuple[Measured, ...]) -> str:
    by = ", ".join(f"{count} {markdown(what)}" for what, count in sorted(judge.by.items()))
    return (
        "\n\n".join(
            [
                f"# {judge.name}",
                f"A judge of labels of recipe {judge.recipe}, made by `ivm train-judge`. {judge.verdicts} verdicts "
                f"taught it: {by}. It looks at what experts said of a label and at what the instruction asks for, not "
                "at pixels.",
                "On these verdicts, each judged by a forest that saw none of its image:",
                markdown_table(HEAD, [_row(one) for one in measured]),
                "Its word is worth nothing for kinds of instructions that no verdict was about.",
                "    ivm gate --data DATA --judge THIS --apply",
            ]
        )
        + "\n"
    )
