"""The `train-judge` flow: a judge learns from people's verdicts once there are enough new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.artifacts import as_cells
from flows.gate import accepted_now, announce
from storage.display import markdown, one_line


@flow(name="train-judge", flow_run_name=lambda: f"judge of {one_line(Path(flow_run.parameters['data']).name)}")
def train_judge(
    data: Path,
    out: Path | None = None,
    *,
    recipe: str = "",
    overrides: dict[str, Any] | None = None,
    apply: bool = False,
) -> State[Any]:
    """Teach a judge by reviews and human masks, if enough were added since the last one.

    Args:
        data: Folder of a labeled data set.
        out: Folder for the judge, new or an earlier one; by default checkpoints/judge in the data set's folder.
        recipe: Hash of the recipe; may be left out where the data set holds only one.
        overrides: Fields of the judge to replace, for example {"anew": 200, "least": 100}.
        apply: Let the judge decide the quality, where it says more of the verdicts than the quality does.

    Returns:
        Completed in every case; the decision is the name and the message of the state.
    """
    from ivm_data.config import override
    from ivm_data.outputs import check
    from ivm_data.quality.judge import JudgeConfig
    from ivm_data.quality.judge_readiness import readiness
    from ivm_data.quality.judge_training import HEAD
    from ivm_data.quality.judge_training import train_judge as train
    from ivm_data.quality.judging import apply_judge
    from storage.data_set import DataSet

    if not data.is_dir():
        return Completed(name="NothingLabeled", message=one_line(f"no data set at '{data}' yet"))
    out, config = out or data / "checkpoints" / "judge", override(JudgeConfig(), overrides or {})
    check("judge", out, data)
    with DataSet.open(data, recipe or None) as opened:
        ready = readiness(opened, config, out)
    if ready.more:
        return Completed(name="TooFewVerdicts", message=ready.text)
    done = train(data, out, recipe, config)
    table = as_cells(dict(zip(HEAD, row, strict=True)) for row in done.rows())
    create_table_artifact(table, key="judge-verdicts", description=markdown(f"{done.judge.name} of {data}"))
    if not done.helps:
        return Completed(name="NoHelp", message="the judge says no more of these verdicts than the quality does")
    if apply:
        before = accepted_now(data, done.judge.recipe)
        gate = apply_judge(data, done.judge, who="flow train-judge")
        announce(data, gate.recipe, gate.hash, before)
    get_run_logger().info("%d verdicts taught %s, %d labels judged", done.judge.verdicts, done.judge.name, done.judged)
    return Completed(name="Applied" if apply else "Trained", message=f"{done.judge.name} in {out}")
