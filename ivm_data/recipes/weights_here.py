"""Refuses a recipe whose weights are not here, before anything is loaded."""

from __future__ import annotations

from ivm_data.recipes.doctor import examine
from ivm_data.recipes.labeling_recipes import Recipe
from storage.errors import WeightsError


def require_weights(recipe: Recipe, named: str = "", role: str = "") -> None:
    """Look at every file that the recipe opens, without loading one.

    Args:
        named: how the recipe is named on a command line: "--recipe small --set ...".
        role: the field of the only expert that is needed; "" for all.

    Raises:
        WeightsError: with what is missing or broken, and the command that gets it.
    """
    wrong = [one for one in examine(recipe) if one.state in ("missing", "broken") and one.role.startswith(role)]
    if not wrong:
        return
    listed = dict.fromkeys(f"{one.what or one.expert}: {one.advice or one.state}" for one in wrong)
    doctor = f"ivm doctor {named or f'--recipe {recipe.name}'}"
    get = f"get what is missing: {doctor} --commands | sh" if any(one.command for one in wrong) else f"see: {doctor}"
    raise WeightsError(f"recipe '{recipe.name}' cannot run here: {', '.join(listed)}; {get}")
