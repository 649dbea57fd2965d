"""Packages that only some work needs: imported when that work begins, installed as extras of the distribution."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import ConfigError

EXTRAS = {
    "app": "the page of `ivm app`",
    "figures": "`ivm figure`",
    "flows": "the Prefect flows",
    "formats": "Hugging Face data sets and WebDataset",
    "openai": "LMMs behind an OpenAI-compatible endpoint",
    "original-experts": "the original projects' Grounding DINO and SAM; EdgeTAM's image encoder",
    "ray": "`--engine ray`",
    "remote": "data sets in an object store",
    "review": "the page of `ivm review`",
    "tensorboard": "scalars of a training",
}
"""Extra -> what needs it."""


class MissingExtraError(ConfigError, ImportError):
    """A package of an extra that is not installed."""


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Put this around the imports that need an extra.

    Raises:
        MissingExtraError: a package is not installed; it names the package, the extra and the command.
    """
    what = EXTRAS[name]
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise MissingExtraError(
            f"package {package!r} is not installed; it comes with the extra {name!r} ({what}): "
            f"pip install 'ivm-engine[{name}]', or 'make setup' in a checkout"
        ) from error
