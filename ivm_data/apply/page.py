"""The page of `ivm app`: an image and an instruction -> the heatmap, and the image masked each way."""

from __future__ import annotations

import os
from html import escape
from typing import Any

import cv2
import numpy as np

from ivm_data.apply.masking import not_known
from ivm_data.local_page import HOST, OnlyThisMachine
from ivm_model.how import HOWS
from ivm_model.masking import apply
from ivm_model.predictor import Predictor
from storage.common.extras import extra

MAX_UPLOAD = "256mb"
"""Of an image file; more than 12,000 x 9,000 pixels of a photo take."""


def heat(image_HWC: np.ndarray, heatmap_HW: np.ndarray) -> np.ndarray:
    """The image, darkened, with the heatmap over it; uint8 RGB of its size."""
    colour_HWC = cv2.applyColorMap((heatmap_HW * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return cv2.addWeighted(image_HWC, 0.4, np.ascontiguousarray(colour_HWC), 0.6, 0)


def views(image_HWC: np.ndarray, heatmap_HW: np.ndarray, threshold: float) -> tuple[list[tuple[np.ndarray, str]], str]:
    """The image masked by each of `HOWS`, with its name, and what was found, for a person."""
    shown = [(apply(image_HWC, heatmap_HW, how, threshold), how) for how in HOWS]
    share, most = float((heatmap_HW >= threshold).mean()), float(heatmap_HW.max())
    caption = f"{share:.1%} of the pixels reach {threshold:g}; the greatest probability is {most:.2f}."
    if not shown[0][0].found:
        caption += " Nothing is found: the whole image is kept."
    return [(masked.image_HWC, how) for masked, how in shown], caption


def build(predictor: Predictor) -> Any:
    """A `gradio.Blocks`; moving the slider masks again without asking the model again.

    There is no share button: it would send the image to a public site.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with extra("app"):
        import gradio as gr

    def ask(image_HWC: np.ndarray | None, instruction: str, threshold: float) -> tuple[Any, ...]:
        if image_HWC is None or not instruction.strip():
            raise gr.Error("Give an image and an instruction.")
        if unknown := not_known(predictor, instruction):
            gr.Warning(escape(unknown))
        heatmap_HW = predictor.heatmap(image_HWC, instruction)
        return (heatmap_HW, heat(image_HWC, heatmap_HW), *views(image_HWC, heatmap_HW, threshold))

    def cut(image_HWC: np.ndarray | None, heatmap_HW: np.ndarray | None, threshold: float) -> tuple[Any, ...]:
        if image_HWC is None or heatmap_HW is None or heatmap_HW.shape != image_HWC.shape[:2]:
            return [], ""
        return views(image_HWC, heatmap_HW, threshold)

    with gr.Blocks(title="IVM Engine", analytics_enabled=False) as page:
        gr.Markdown("## Which pixels does the instruction need?")
        known = gr.State()
        with gr.Row():
            with gr.Column(scale=1):
                image = gr.Image(type="numpy", image_mode="RGB", sources=["upload", "clipboard"], label="image")
                instruction = gr.Textbox(label="instruction", placeholder="Find the red ring.")
                threshold = gr.Slider(0.05, 0.95, 0.5, step=0.01, label="threshold")
                button = gr.Button("Mask", variant="primary")
            with gr.Column(scale=2):
                heatmap = gr.Image(label="heatmap", height=260, buttons=["download", "fullscreen"])
                caption = gr.Markdown()
                gallery = gr.Gallery(label="masked", columns=3, height=450, buttons=["fullscreen"])
        outputs = [known, heatmap, gallery, caption]
        for event in (button.click, instruction.submit):
            event(ask, [image, instruction, threshold], outputs)
        threshold.change(cut, [image, known, threshold], [gallery, caption], trigger_mode="always_last")
    return page


def serve(predictor: Predictor, port: int | None = None) -> Any:
    """Open the page on this machine alone, beside the caller.

    Args:
        port: None takes the first free one from 7860 on.

    Returns:
        The `gradio.Blocks`; `local_url` is its address, `block_thread()` waits for Ctrl+C, `close()` ends it.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    page = build(predictor)
    page.launch(
        server_name=HOST,
        server_port=port,
        share=False,
        ssr_mode=False,
        quiet=True,
        theme=gr.themes.Default(font=("system-ui", "sans-serif"), font_mono=("monospace",)),
        footer_links=[],
        prevent_thread_lock=True,
        max_file_size=MAX_UPLOAD,
        app_kwargs={"middleware": [Middleware(OnlyThisMachine)]},
    )
    return page
