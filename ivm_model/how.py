"""The ways to show an image with only the pixels that an instruction needs; `ivm_model.masking` does what they say."""

from __future__ import annotations

from typing import Literal, get_args

How = Literal["overlay", "blur", "gray", "crop", "overlay+crop"]
"""The others white, blurred or gray; cut away; or white and cut away."""
HOWS: tuple[How, ...] = get_args(How)
