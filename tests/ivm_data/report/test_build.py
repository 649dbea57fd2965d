import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ivm_data.outputs import check
from ivm_data.report.build import write_report
from storage.errors import ConfigError
from storage.parts.shards import commit_part
from storage.records import PartResult, Rejection

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and insists that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def html(labeled, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    assert write_report(labeled, out, title="My labels") == out
    return out.read_text()


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def test_the_report_is_one_well_formed_page_with_pictures_charts_and_lineage(page):
    tags = [tag for tag, _ in page.tags]
    assert tags.count("title") >= 1 and "My labels" in page.text
    assert tags.count("img") % 3 == 0 and tags.count("img") >= 3 * 6
    assert tags.count("svg") >= 3
    for words in ("By kind", "By difficulty", "By source", "By expert", "Wrongly accepted", "3f9c0a51d2e7", "sam@1"):
        assert words in page.text


def test_the_report_loads_nothing_from_anywhere(html, page):
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        assert not {"href", "srcset", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert attributes["src"].startswith("data:image/jpeg;base64,")
            assert attributes["alt"]
    style = html[html.index("<style>") : html.index("</style>")]
    assert not re.search(r"url\(|@import|https?:", style)
    assert "default-src 'none'" in html


def test_instructions_and_details_are_shown_as_text_and_never_as_markup(html, page):
    assert "<script>alert(1)</script> & <b>" in page.text
    assert "<img src=https://host/x onerror=alert(2)>" in page.text
    assert "&lt;img src=https://host/x onerror=alert(2)&gt;" in html


def test_the_report_has_a_dark_mode_of_its_own(html):
    assert "prefers-color-scheme: dark" in html


def test_every_rejection_reason_is_shown_with_its_meaning(page):
    for words in (
        "bad_manifest_line",
        "image_missing",
        "image_outside_root",
        "the image's path leaves the manifest's folder",
    ):
        assert words in page.text


def test_the_same_data_set_gives_the_same_bytes(labeled, html, tmp_path):
    assert write_report(labeled, tmp_path / "again.html", title="My labels").read_text() == html
    check("report", tmp_path / "again.html", labeled)


def test_a_torn_file_is_named_and_the_rest_is_reported(labeled, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(labeled, data)
    torn = next((data / "labels").rglob("*.light.parquet"))
    (torn.parent / "torn-00000.light.parquet").write_bytes(torn.read_bytes()[:100])
    page = Page(write_report(data, tmp_path / "report.html").read_text())
    assert "left out of every number" in page.text
    assert "torn-00000.light.parquet" in page.text


def test_a_data_set_of_rejections_alone_has_a_report_too(tmp_path):
    rejections = tuple(Rejection(f"{i}", "ingest", "image_missing", "no file", "set") for i in range(3))
    commit_part(tmp_path / "data", PartResult("set-00000", "abc", rejections))
    page = Page(write_report(tmp_path / "data", tmp_path / "report.html").read_text())
    assert "Of 3 pairs, 0 (0 %) became accepted labels." in page.text
    assert "how right they are is not known" in page.text


def test_of_several_recipes_one_must_be_chosen(labeled, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(labeled, data)
    commit_part(data, PartResult("set-00000", "abc", (Rejection("1", "ingest", "image_missing", "no file", "set"),)))
    with pytest.raises(ConfigError, match="2 recipes; choose one of 3f9c0a51d2e7, abc"):
        write_report(data, tmp_path / "report.html")
    assert "Of 1 pairs" in write_report(data, tmp_path / "report.html", recipe="abc").read_text()
    with pytest.raises(ConfigError, match="no labels of recipe 'xyz'"):
        write_report(data, tmp_path / "report.html", recipe="xyz")


def test_what_cannot_be_reported_is_a_configuration_error(labeled, tmp_path):
    with pytest.raises(ConfigError, match="is a folder"):
        write_report(labeled, tmp_path)
    with pytest.raises(ConfigError, match="no data folder"):
        write_report(tmp_path / "nowhere", tmp_path / "report.html")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no outcomes"):
        write_report(Path(tmp_path / "empty"), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
