import pytest
from PIL import Image

from ivm_data.outputs import check
from ivm_data.report.figures import draw
from storage.catalog import Catalog
from storage.errors import ConfigError


@pytest.fixture
def figures_data(tmp_path):
    import importlib.util
    from pathlib import Path

    from storage.parts.shards import commit_part, write_weights

    path = Path(__file__).parents[2] / "storage" / "builders.py"
    spec = importlib.util.spec_from_file_location("storage_builders", path)
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    part = build.make_part(rows=20)
    commit_part(tmp_path, part)
    write_weights(tmp_path, "lmm-head@77aa", part.part, build.make_weights(part))
    return tmp_path


def test_both_figures_are_drawn_with_a_line_for_each_source(figures_data, tmp_path):
    with Catalog(figures_data) as catalog:
        for name, label in (("area", "share of the image"), ("weights", "discriminator output D")):
            draw(catalog, name, tmp_path / f"{name}.svg", {"bins": "10"})
            draw(catalog, name, tmp_path / f"{name}.png")
            text = (tmp_path / f"{name}.svg").read_text()
            assert label in text and "world" in text and "photos" in text
            assert Image.open(tmp_path / f"{name}.png").size[0] == 1050
            draw(catalog, name, tmp_path / f"{name}.pdf")
            for suffix in ("svg", "png", "pdf"):
                check("figure", tmp_path / f"{name}.{suffix}")


def test_what_cannot_be_drawn_is_reported(figures_data, tmp_path):
    (tmp_path / "empty").mkdir()
    with Catalog(tmp_path / "empty") as catalog:
        with pytest.raises(ConfigError, match="nothing to draw: the data set has no weights"):
            draw(catalog, "weights", tmp_path / "x.svg")
        with pytest.raises(ConfigError, match=r"must end in one of \.svg, \.png, \.pdf"):
            draw(catalog, "area", tmp_path / "x.gif")
        with pytest.raises(ConfigError, match="no figure 'loss'"):
            draw(catalog, "loss", tmp_path / "x.svg")
