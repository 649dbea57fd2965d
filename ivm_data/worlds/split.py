"""The splits of the procedural world."""

from __future__ import annotations

from typing import Literal

Split = Literal["train", "val", "test"]
"""Only test has the combinations of colour and shape that `ivm_data.worlds.scene.HELD_OUT` lists."""
