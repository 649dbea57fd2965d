"""`ivm app`: the trained model on a page."""

from __future__ import annotations

from typing import Annotated

import typer

from ivm_data.cli.console import say
from ivm_data.cli.options import OWN_MODEL, BaseModels, MaskingModel, parse_base_models


def app(
    model: MaskingModel = OWN_MODEL,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", show_default="the first free one from 7860 on")] = 0,
    zoom: Annotated[int, typer.Option(help="Closer looks at images larger than the model sees; 0: none.")] = 0,
    device: Annotated[str, typer.Option(help="torch device, or auto.")] = "cpu",
    changes: BaseModels = [],  # noqa: B006
) -> None:
    """Open a page that masks images, on this machine alone: `ivm app --model my-model`."""
    from ivm_data.apply.page import serve
    from ivm_data.experts.registry import embedded
    from ivm_model.predictor import Predictor

    predictor = Predictor.from_pretrained(embedded(model), device=device, zoom=zoom, **parse_base_models(changes))
    page = serve(predictor, port or None)
    say(f"{page.local_url} (end it with Ctrl+C)")
    page.block_thread()
