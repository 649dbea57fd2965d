"""The page's addresses: every path is fixed or a key that the data set is asked for; none is opened as a file."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ivm_data.experts.lmms.prompts import wanted
from ivm_data.local_page import READING
from ivm_data.quality.reviewer_agreement import agreements
from ivm_data.review.access import HEADERS, Access, refuse_body
from ivm_data.review.colours import distinct
from ivm_data.review.page_requests import PART, SAMPLE, Accepted, Edits, Judgement, Undone
from ivm_data.review.pictures import heatmap_png, image_jpeg, inline, mask_png, thumbnail_jpeg
from ivm_data.review.session import ReviewSession
from ivm_data.review.shown_labels import ShownLabel
from storage.catalog import Catalog
from storage.errors import IvmError
from storage.pixels import rle

_PAGE = Path(__file__).parent / "page"
_TYPES = {".js": "text/javascript", ".css": "text/css"}
_FILES = {path.name: path for path in _PAGE.iterdir() if path.suffix in _TYPES}

PartName = Annotated[str, InPath(pattern=PART)]
SampleId = Annotated[str, InPath(pattern=SAMPLE)]


def create_app(session: ReviewSession, access: Access) -> FastAPI:
    """The application for one session."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    pages = Environment(loader=FileSystemLoader(_PAGE), autoescape=True, undefined=StrictUndefined)

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = access.answer(request)
        if response is None and request.method not in READING:
            response = refuse_body(await request.body())
        response = response or await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.exception_handler(IvmError)
    def refused(_: Request, error: IvmError) -> Response:
        return JSONResponse({"detail": str(error)}, status_code=422)

    @app.get("/")
    def page() -> Response:
        html = pages.get_template("review.html").render(secret=access.secret, reviewer=session.reviewer)
        return Response(html, media_type="text/html")

    @app.get("/agreement")
    def agreement() -> Response:
        with Catalog(session.reopened()) as catalog:
            rows = agreements(catalog, session.recipe)
            verdicts = catalog.query("reviews_by_status", recipe=session.recipe).to_pylist()
        html = pages.get_template("agreement.html").render(rows=rows, verdicts=verdicts, known=math.isfinite)
        return Response(html, media_type="text/html")

    @app.get("/page/{name}")
    def static(name: str) -> Response:
        if name not in _FILES:
            return JSONResponse({"detail": f"the page has no file {name!r}"}, status_code=404)
        return Response(_FILES[name].read_bytes(), media_type=_TYPES[_FILES[name].suffix])

    @app.get("/api/queue")
    def queue(
        status: str = "",
        source: str = "",
        kind: str = "",
        random: bool = False,
        where: Annotated[str, Query(max_length=2000)] = "",
    ) -> Response:
        return _json(session.queue(where, status=status, source=source, kind=kind, random=random))

    @app.get("/api/promise")
    def promise(precision: Annotated[float, Query(gt=0, lt=1)] = 0.95) -> Response:
        return _json(session.promise_needs(precision))

    @app.get("/api/judge")
    def judge() -> Response:
        return _json(session.judge_readiness())

    @app.get("/api/labels/{part}/{sample_id}")
    def label(part: PartName, sample_id: SampleId) -> Response:
        return _json(_description(session.shown(part, sample_id)) | {"verdict": session.verdict(sample_id)})

    @app.get("/api/labels/{part}/{sample_id}/strip")
    def strip(part: PartName, sample_id: SampleId) -> Response:
        return _json(asdict(session.strip(session.shown(part, sample_id))))

    @app.post("/api/labels/{part}/{sample_id}/retrack")
    def retrack(part: PartName, sample_id: SampleId) -> Response:
        session.shown(part, sample_id)
        return _json(asdict(session.retrack(sample_id)))

    @app.get("/api/labels/{part}/{sample_id}/{layer}")
    def layer(part: PartName, sample_id: SampleId, layer: str) -> Response:
        return _picture(session.shown(part, sample_id), layer)

    @app.post("/api/labels/{part}/{sample_id}/look")
    def look(part: PartName, sample_id: SampleId) -> Response:
        return _json({"joins": session.repair.look(session.shown(part, sample_id))})

    @app.post("/api/labels/{part}/{sample_id}/edits")
    def edits(part: PartName, sample_id: SampleId, asked: Edits) -> Response:
        mask = session.repair.mask(session.shown(part, sample_id), asked.records(), asked.start)
        return _json({"mask": inline(mask_png(mask)), "area": rle.area(mask)})

    @app.post("/api/labels/{part}/{sample_id}/review")
    def review(part: PartName, sample_id: SampleId, given: Judgement) -> Response:
        shown = session.shown(part, sample_id)
        corrected = given.corrected and given.verdict == "wrong"
        mask = session.repair.mask(shown, given.records(), given.start) if corrected else None
        session.decide(shown, given.verdict, note=given.note, mask=mask)
        return _json(session.progress())

    @app.post("/api/accept")
    def accept(given: Accepted) -> Response:
        session.accept(given.keys())
        return _json(session.progress())

    @app.post("/api/undo")
    def undo(asked: Undone) -> Response:
        undone = [session.undo() for _ in range(asked.count)]
        return _json({"undone": undone[-1], **session.progress()})

    return app


def _picture(shown: ShownLabel, layer: str) -> Response:
    label = shown.label
    proposals = {f"proposal-{number}.png": proposal for number, proposal in enumerate(label.proposals)}
    if layer == "image.jpg":
        return Response(image_jpeg(shown.image_HWC), media_type="image/jpeg")
    if layer == "thumb.jpg":
        return Response(thumbnail_jpeg(shown.image_HWC, rle.decode(label.mask)), media_type="image/jpeg")
    if layer == "heatmap.png" and label.proposals:
        vote_HW = rle.vote([p.mask for p in label.proposals], [p.score for p in label.proposals])
        return Response(heatmap_png(vote_HW), media_type="image/png")
    if layer in proposals:
        return Response(mask_png(proposals[layer].mask), media_type="image/png")
    return JSONResponse({"detail": f"the label has no layer {layer!r}"}, status_code=404)


def _description(shown: ShownLabel) -> dict[str, Any]:
    """What the page shows of a label: neither the human mask nor the verdicts of others."""
    label = shown.label
    sample = label.sample
    about = {name: getattr(sample, name) for name in ("id", "instruction", "source", "kind", "difficulty", "image_uri")}
    columns = ("expert", "score", "support", "predicted_iou", "stability", "iou_with_label")
    proposals = [{name: getattr(proposal, name) for name in columns} for proposal in label.proposals]
    return about | {
        "width": shown.image_HWC.shape[1],
        "height": shown.image_HWC.shape[0],
        "episode": sample.moment.episode if sample.moment else None,
        "camera": sample.moment.camera if sample.moment else None,
        "frame": sample.moment.frame if sample.moment else None,
        "status": label.status,
        "reason": label.reason,
        "area": rle.area(label.mask),
        "mask": inline(mask_png(label.mask)),
        "colours": distinct(shown.image_HWC, rle.decode(label.mask)),
        "searched": label.request.scope if label.request.scope != "things" else wanted(label.request),
        "scores": asdict(label.scores),
        "proposals": proposals,
    }


def _json(value: Any) -> Response:
    return JSONResponse(_finite(value))


def _finite(value: Any) -> Any:
    """The value with NaN as null, which JSON knows."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
