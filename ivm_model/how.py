"""The ways to show an image with only the pixels that an instruction needs; `ivm_model.masking` does what they say."""

from __future__ import annotations

from typing import Literal, get_args

How = Literal["overlay", "blur", "gray", "crop", "overlay+crop"]
HOWS: tuple[How, ...] = get_args(How)
