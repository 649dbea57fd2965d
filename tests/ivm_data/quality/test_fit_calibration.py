import pytest

from ivm_data.quality.fit_calibration import fit_logistic
from storage.errors import ConfigError
from storage.records import Scores


def test_rows_of_one_kind_cannot_be_calibrated_on():
    with pytest.raises(ConfigError, match="needs right and wrong human rows, got 3 rows, 3 of them right"):
        fit_logistic(("grounding",), [Scores(grounding=0.5)] * 3, [True] * 3)
