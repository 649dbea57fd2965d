"""The commands and their groups; heavy imports happen inside a command, so that `ivm --help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TaskID

from ivm_data.cli.console import Format, console, progress_bar, show, show_arrow, warn
from ivm_data.worlds.scene import Split
from ivm_model.masking import How
from storage.catalog import Catalog
from storage.errors import ConfigError

app = typer.Typer(
    name="ivm",
    help="The open data engine for instruction-guided visual masking.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
zoo = typer.Typer(help="The embedded experts: list them, train them from nothing.", no_args_is_help=True)
app.add_typer(zoo, name="zoo")

DataFolder = Annotated[Path, typer.Option("--data", help="Folder of a labeled data set.", show_default=False)]
Changes = Annotated[list[str], typer.Option("--set", help="Replace a field of the recipe: gate.accept=0.9")]

BAD_INPUT_STATUS = 3
"""Exit status of a run that finished although some inputs could not be used; they are in the `rejections` view."""


@app.command()
def world(
    out: Annotated[Path, typer.Argument(help="Folder to write images/ and manifest.jsonl into.")],
    split: Annotated[Split, typer.Option(help="train, val or test; only test has the held-out combinations.")] = "test",
    scenes: Annotated[int, typer.Option(help="Number of images.")] = 100,
    pairs_per_scene: Annotated[int, typer.Option(help="Instructions for each image.")] = 3,
    human_share: Annotated[float, typer.Option(help="Share of images whose masks may train and calibrate.")] = 0.2,
    start: Annotated[int, typer.Option(help="Index of the first scene.")] = 0,
) -> None:
    """Draw a procedural world with exact masks: `ivm world demo/world --scenes 100`."""
    from ivm_data.worlds.world import write_world

    manifest = write_world(
        out, split, scenes=scenes, pairs_per_scene=pairs_per_scene, human_share=human_share, start=start
    )
    console.print(f"{manifest}")


@app.command()
def label(
    manifest: Annotated[Path, typer.Option(help="JSONL or CSV with 'image' and 'instruction'.")],
    out: Annotated[Path, typer.Option(help="Folder of the data set; running again resumes.")],
    recipe: Annotated[str, typer.Option(help="Name of the recipe.")] = "demo",
    changes: Changes = [],  # noqa: B006
    part_size: Annotated[int, typer.Option(help="Pairs in a part, the unit of retry and commit.")] = 64,
    image_root: Annotated[
        Path | None, typer.Option(help="Folder that image paths are relative to.", show_default="the manifest's")
    ] = None,
) -> None:
    """Label a manifest: `ivm label --manifest photos/manifest.jsonl --out data`."""
    from ivm_data.labeling import label_manifest, prepare, total
    from ivm_data.recipes import recipe as named_recipe

    run = prepare(manifest, out, named_recipe(recipe, parse_changes(changes)), part_size, image_root)
    with progress_bar() as bar:
        task = bar.add_task(f"recipe {run.recipe_hash}", total=sum(part.records for part in run.parts))
        summaries = label_manifest(run, lambda summary: bar.advance(task, summary.rows))
    skipped = sum(not summary.fresh for summary in summaries)
    show(["outcome", "pairs"], sorted(total(summaries).items()), title=f"{out}, recipe {run.recipe_hash}")
    console.print(f"{len(summaries)} parts, {skipped} of them committed before.")
    if bad := sum(summary.bad_inputs for summary in summaries):
        warn(f"{bad} inputs could not be used; see: ivm query --data {out} rejections")
        raise typer.Exit(BAD_INPUT_STATUS)


@app.command()
def calibrate(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="JSON file to write; name it in a recipe's 'calibration'.")],
) -> None:
    """Learn from human rows how scores become quality: `ivm calibrate --data data --out calibration.json`."""
    from ivm_data.quality.calibration import calibrate as fit
    from storage.reader import iter_labels

    calibration = fit(iter_labels(data))
    out.parent.mkdir(parents=True, exist_ok=True)
    calibration.save(out)
    console.print(f"{out}: fitted on {calibration.rows[0]} masks and {calibration.rows[1]} absences")


@app.command()
def sql(
    data: DataFolder,
    query: Annotated[str, typer.Argument(help="SQL over the views; without it the views are listed.")] = "",
    form: Annotated[Format, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Ask in SQL: `ivm sql --data data "select status, count(*) from labels group by all"`."""

    with Catalog(data) as catalog:
        _warn_of_problems(catalog)
        show_arrow(catalog.sql(query) if query else catalog.describe(), form)


@app.command()
def query(
    data: DataFolder,
    name: Annotated[str, typer.Argument(help="Name of the query; without it the queries are listed.")] = "",
    form: Annotated[Format, typer.Option("--format", help="table, csv or json.")] = "table",
    values: Annotated[list[str], typer.Option("--with", help="Set a parameter of the query: limit=5")] = [],  # noqa: B006
) -> None:
    """Run a named query: `ivm query --data data acceptance_by_kind`."""
    from storage.queries import named_queries

    if not name:
        show(["query", "answers"], [(q.name, q.description) for q in named_queries()], form)
        return
    with Catalog(data) as catalog:
        _warn_of_problems(catalog)
        show_arrow(catalog.query(name, **parse_changes(values)), form, title=name)


@app.command()
def report(
    data: DataFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")],
    recipe: Annotated[str | None, typer.Option(help="Hash of the recipe, where the folder holds several.")] = None,
) -> None:
    """Write one self-contained HTML page about a data set: `ivm report --data data -o report.html`."""
    from ivm_data.report.build import write_report

    console.print(f"{write_report(data, out, recipe=recipe)}")


@app.command()
def train(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, its model card and scores.")],
    changes: Annotated[list[str], typer.Option("--set", help="Replace a field: weighting=uniform")] = [],  # noqa: B006
) -> None:
    """Train the masking model with DWSL: `ivm train --data data --out model`."""
    from ivm_data.training import train_config
    from ivm_model.trainer import train_dwsl

    with progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        train_dwsl(train_config(data, out, parse_changes(changes)), advance)
    console.print((out / "README.md").read_text(), markup=False, highlight=False)


@app.command()
def mask(
    image: Annotated[Path, typer.Argument(help="Image file.")],
    instruction: Annotated[str, typer.Argument(help="What the image is asked for.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Image file to write.")],
    model: Annotated[Path, typer.Option(help="Checkpoint folder that training wrote.")],
    how: Annotated[How, typer.Option(help="overlay, blur, gray, crop or overlay+crop.")] = "overlay",
    threshold: Annotated[float, typer.Option(help="A pixel is kept above this probability.")] = 0.5,
) -> None:
    """Mask an image: `ivm mask photo.jpg "the red ring" -o masked.png --model model --how blur`."""
    from PIL import Image

    from ivm_data.images import read
    from ivm_model.predictor import Predictor

    image_HWC = read(image)
    masked = Predictor.from_pretrained(model).mask(image_HWC, instruction, how, threshold)
    Image.fromarray(masked.image_HWC).save(out)
    if not masked.found:
        warn(f"no pixel reaches {threshold}: the whole image is kept")
    console.print(f"{out}")


@app.command()
def doctor(
    recipe: Annotated[str, typer.Option(help="Name of the recipe.")] = "demo",
    changes: Changes = [],  # noqa: B006
) -> None:
    """Tell what a recipe needs on this machine, and the command for what is missing: `ivm doctor --recipe card`."""
    from ivm_data.doctor import examine, versions
    from ivm_data.recipes import recipe as named_recipe

    show(["package", "version"], versions().items())
    findings = examine(named_recipe(recipe, parse_changes(changes)))
    shown = [(f.role, f.expert, f.what, f.device, f.dtype, f.state, _mib(f.mib), _mib(f.memory_mib)) for f in findings]
    show(["role", "expert", "weights", "device", "dtype", "state", "file MiB", "memory MiB"], shown, title=recipe)
    advice = dict.fromkeys(f.advice for f in findings if f.advice)
    for line in advice:
        warn(line)
    if advice:
        raise typer.Exit(1)


@zoo.command("list")
def zoo_list() -> None:
    """Show the embedded experts and their model cards."""
    from ivm_data.zoo.shelf import NAMES, WEIGHTS

    show(["name", "model card"], [(name, str(WEIGHTS / name / "README.md")) for name in NAMES])


@zoo.command("train")
def zoo_train(
    name: Annotated[str, typer.Argument(help="grounder, segmenter or lmm.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and its model card.")],
    changes: Annotated[list[str], typer.Option("--set", help="Replace a field of TrainConfig: steps=100")] = [],  # noqa: B006
) -> None:
    """Train an embedded expert from nothing: `ivm zoo train segmenter --out my-sam`."""
    from ivm_data.zoo.shelf import train

    scores = train(name, out, parse_changes(changes), console.print)
    show(["score", "held out"], sorted(scores.items()), title=str(out))


def parse_changes(changes: list[str]) -> dict[str, str]:
    """`["a.b=1"]` -> `{"a.b": "1"}`."""
    for change in changes:
        if "=" not in change:
            raise ConfigError(f"expected FIELD=VALUE, got {change!r}; for example gate.accept=0.9")
    return dict(change.split("=", 1) for change in changes)


def _mib(size: float | None) -> str:
    return "" if size is None else f"{size:,.1f}"


def _warn_of_problems(catalog: Catalog) -> None:
    for problem in catalog.problems:
        warn(str(problem))
