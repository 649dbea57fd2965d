"""The `report` flow: the HTML page about a data set."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run
from pydantic import NonNegativeInt

from ivm_data.outputs import check
from storage.display import markdown, one_line


@flow(name="report", flow_run_name=lambda: f"report on {one_line(Path(flow_run.parameters['data']).name)}")
def report(
    data: Path,
    out: Path | None = None,
    *,
    recipe: str = "",
    title: str = "Label quality",
    pictures: NonNegativeInt = 6,
) -> str:
    """Write the report of one recipe's labels: numbers, charts, the best and the worst, in one HTML file.

    Args:
        data: Folder of a labeled data set.
        out: File to write, new or an earlier report; by default report.html in the data set's folder.
        recipe: Hash of the recipe; may be left out where the data set holds only one.
        title: Headline of the page.
        pictures: Labels on each section of the gallery.

    Returns:
        The path of the page.
    """
    from ivm_data.report.build import write_report

    out = out or data / "report.html"
    check("report", out, data)
    page = write_report(data, out, title, recipe or None, pictures)
    path = page.resolve()
    create_markdown_artifact(
        f"[{markdown(page.name)}](<{path.as_uri()}>), on the worker's machine: {markdown(str(path))}",
        key="report-page",
        description=markdown(f"report of {data}"),
    )
    return str(page)
