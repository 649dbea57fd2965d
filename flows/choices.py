"""What a form offers to choose from; not in the flows, which take seconds to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ivm_data.recipes.labeling_recipes import RECIPES
from ivm_data.recipes.training_recipes import TrainingRecipe
from ivm_model.weighting.weightings import WEIGHTINGS

if TYPE_CHECKING:
    RecipeName = str
    Weighting = str
else:
    RecipeName = Literal[tuple(RECIPES)]
    Weighting = Literal[tuple(WEIGHTINGS)]
BaseModels = TrainingRecipe
