from pathlib import Path

from storage.parts.schema import SCORES
from storage.records import REASONS, Status

PAGE = (Path(__file__).parents[2] / "docs" / "labels.md").read_text()


def test_the_page_lists_every_reason_code_status_and_score_with_its_meaning():
    for name, meaning in {**REASONS, **SCORES}.items():
        assert f"| `{name}` | {meaning.replace('|', chr(92) + '|')} |" in PAGE, name
    for status in Status:
        assert f"| `{status.value}` |" in PAGE
