"""`ivm doctor`: what a recipe needs on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ivm_data.cli import completions
from ivm_data.cli.console import say, show, warn
from ivm_data.cli.options import Changes, parse_changes, recipe_options
from storage.errors import ConfigError

if TYPE_CHECKING:
    from ivm_data.recipes.doctor import Finding, Total
    from ivm_data.recipes.labeling_recipes import Recipe


def doctor(
    recipe: Annotated[str, typer.Option(help="Name of the recipe.", autocompletion=completions.recipes)] = "demo",
    changes: Changes = [],  # noqa: B006
    commands: Annotated[bool, typer.Option("--commands", help="Only the commands, for a shell.")] = False,
) -> None:
    """Check what a recipe needs on this machine: `ivm doctor --recipe card`.

    Exits with 0 when all is ready. Get what is missing: `ivm doctor --recipe card --commands | sh`.
    """
    from ivm_data.quality.little_accepted import SMALL_WORLD_ALONE, is_embedded
    from ivm_data.recipes.doctor import examine, totals, versions
    from ivm_data.recipes.labeling_recipes import recipe as named_recipe

    chosen = named_recipe(recipe, parse_changes(changes))
    findings = examine(chosen)
    found = totals(findings)
    ready = not any(f.remedy for f in findings) and all(total.fits for total in found)
    if commands:
        for line in dict.fromkeys(f.command for f in findings if f.command):
            say(line, highlight=False)
        for line in dict.fromkeys(f.advice for f in findings if f.advice):
            warn(line)
        raise typer.Exit(0 if ready else 1)
    show(["package", "version"], versions().items())
    shown = [(f.role, f.expert, f.what, f.device, f.dtype, f.state, _mib(f.mib), _mib(f.memory_mib)) for f in findings]
    show(["role", "expert", "weights", "device", "dtype", "state", "file MiB", "memory MiB"], shown, title=recipe)
    for total in found:
        say(f"{total.device}: {_weight(total)}")
    _say_devices(findings)
    _say_tiles(chosen)
    for line in dict.fromkeys(f.remedy for f in findings if f.remedy):
        say(line, highlight=False)
    if is_embedded(chosen.to_dict()):
        warn(SMALL_WORLD_ALONE.format(recipe=recipe))
    named = recipe_options(recipe, parse_changes(changes))
    if any(f.command for f in findings):
        say(f"get them: ivm doctor {named} --commands | sh", highlight=False)
    if not ready:
        raise typer.Exit(1)
    say(f"ready: ivm label {named} --images FOLDER --instruction '...' --first 20 --out data", highlight=False)


def _say_devices(findings: Sequence[Finding]) -> None:
    """What each GPU would do under `--devices auto`, where there are several."""
    from ivm_data.engine.devices import devices_of, place

    devices = devices_of("auto")
    if len(devices) == 1:
        return
    try:
        plan = place(findings, devices, {})
    except ConfigError as error:
        warn(str(error))
        return
    show(["device", "runs"], plan.rows(), title="ivm label --devices auto")
    say(f"{plan.why}.")


def _say_tiles(recipe: Recipe) -> None:
    """How often the experts that see large pictures in parts pass over one."""
    from ivm_data.recipes.tile_costs import MEGAPIXELS, tile_costs

    rows = [
        (
            cost.role,
            cost.expert,
            f"{cost.sees.short} x {cost.sees.long}" if cost.sees else "not here",
            *(cost.forwards or ("",) * len(MEGAPIXELS)),
        )
        for cost in tile_costs(recipe)
    ]
    if rows:
        sizes = [f"{megapixels:g} MP" for megapixels in MEGAPIXELS]
        show(["role", "expert", "sees", *sizes], rows, title="forwards a picture, with its tiles")


def _weight(total: Total) -> str:
    """What weights take of a device, in words."""
    unknown = f" and {total.unknown} checkpoints of unknown size" if total.unknown else ""
    if total.memory_mib is None:
        return f"weights take {total.weights_mib:,.0f} MiB{unknown}, and activations more"
    rest = "activations come on top" if total.fits else "too little: take --recipe small, or smaller models by --set"
    return f"weights take {total.weights_mib:,.0f} MiB{unknown} of {total.memory_mib:,.0f} MiB; {rest}"


def _mib(size: float | None) -> str:
    return "" if size is None else f"{size:,.1f}"
