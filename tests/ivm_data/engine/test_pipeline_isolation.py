import numpy as np
import pytest

from ivm_data.engine.pipeline import run_isolated
from ivm_data.stages.stage import Draft, Outcome
from storage.errors import TransientError
from storage.records import Sample


class FailsOn:
    """A stage that cannot stand certain samples."""

    name = "fails"

    def __init__(self, *bad, error=RuntimeError):
        self.bad, self.error, self.calls = set(bad), error, 0

    def run(self, batch):
        self.calls += 1
        for draft in batch:
            if draft.sample.id in self.bad:
                raise self.error(f"cannot stand {draft.sample.id}")
        return Outcome(list(batch), [])


def drafts(count):
    return [
        Draft(Sample(str(i), b"", "x.png", 4, 4, "the star", "test"), np.zeros((4, 4, 3), np.uint8))
        for i in range(count)
    ]


@pytest.mark.parametrize("bad", [["0"], ["15"], ["3", "4"], ["0", "7", "8", "15"]])
def test_only_the_samples_that_break_a_stage_are_rejected(bad):
    outcome = run_isolated(FailsOn(*bad), drafts(16))
    assert [r.sample_id for r in outcome.rejected] == bad
    assert [d.sample.id for d in outcome.kept] == [str(i) for i in range(16) if str(i) not in bad]
    assert {r.reason for r in outcome.rejected} == {"expert_failed"}
    assert "cannot stand" in outcome.rejected[0].detail


def test_finding_one_bad_sample_among_many_costs_logarithmic_calls():
    stage = FailsOn("5")
    run_isolated(stage, drafts(64))
    assert stage.calls <= 2 * 6 + 1


def test_a_bad_sample_that_came_alone_is_rejected_too():
    assert run_isolated(FailsOn("0"), drafts(1)).rejected[0].reason == "expert_failed"


def test_a_transient_error_is_not_blamed_on_a_sample():
    with pytest.raises(TransientError):
        run_isolated(FailsOn("3", error=TransientError), drafts(8))


def test_an_empty_batch_does_not_reach_the_stage():
    stage = FailsOn()
    assert run_isolated(stage, []) == Outcome([], [])
    assert stage.calls == 0
