"""`ivm complicate` and `ivm mix`: manifests out of manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivm_data.cli import completions
from ivm_data.cli.console import say, show
from ivm_data.cli.options import Changes, parse_changes


def complicate(
    manifest: Annotated[Path, typer.Option(help="JSONL manifest with labeled lines.")],
    out: Annotated[Path, typer.Option(help="Manifest to write, a .jsonl file; its image root is that of the first.")],
    recipe: Annotated[
        str, typer.Option(help="Name of the recipe whose rewriter is asked.", autocompletion=completions.recipes)
    ] = "demo",
    changes: Changes = [],  # noqa: B006
    count: Annotated[int, typer.Option(help="Instructions for each phrase.")] = 3,
    max_words: Annotated[int, typer.Option(help="Words that a phrase may have; longer ones stay as they are.")] = 12,
    replace: Annotated[bool, typer.Option("--replace", help="Leave out the lines that got instructions.")] = False,
    cache: Annotated[str, typer.Option(help="Folder of the answers; running again goes on.")] = ".cache/responses",
) -> None:
    """Complex instructions for labeled phrases: `ivm complicate --manifest coco.jsonl --out complex.jsonl`."""
    from ivm_data.experts.registry import get
    from ivm_data.outputs import check
    from ivm_data.recipes.labeling_recipes import recipe as named_recipe
    from ivm_data.sources.complicate import ComplicateConfig
    from ivm_data.sources.complicate import complicate as write

    check("manifest", out, inputs=[manifest])
    config = ComplicateConfig(count=count, max_words=max_words, keep=not replace, cache=cache)
    writer = get(named_recipe(recipe, parse_changes(changes)).rewriter)
    counts = write(manifest, out, writer, config)
    show(["what", "number"], [(what, counts.pop(what, 0)) for what in ("lines", "phrases", "written")], title=str(out))
    if counts:
        show(["dropped", "number"], sorted(counts.items()))


def mix(
    sources: Annotated[list[str], typer.Argument(help="MANIFEST=SHARE or MANIFEST=SHARE:CAP, of .jsonl files.")],
    out: Annotated[Path, typer.Option(help="Manifest to write, a .jsonl file.")],
    size: Annotated[int, typer.Option(help="Lines in all; 0 for as many as the shares allow.")] = 0,
    seed: Annotated[int, typer.Option(help="Which lines of a source are taken.")] = 0,
    image_root: Annotated[
        Path | None,
        typer.Option(
            help="Folder that the image paths of all sources are relative to.", show_default="each manifest's own"
        ),
    ] = None,
) -> None:
    """A mixture of manifests: `ivm mix --out mixed.jsonl coco.jsonl=0.5 vsr.jsonl=0.3:10000 robot.jsonl=0.2`."""
    from ivm_data.outputs import check
    from ivm_data.sources.mix import MixConfig, parse_source
    from ivm_data.sources.mix import mix as write

    parsed = [parse_source(source) for source in sources]
    check("manifest", out, inputs=[source.manifest for source in parsed])
    mixture = write(parsed, out, MixConfig(size, seed, image_root))
    show(["manifest", "lines", "usable", "share", "taken"], mixture.rows, title=str(out))
    if mixture.root != out.parent.resolve():
        say(f"label it with --image-root {mixture.root}")
