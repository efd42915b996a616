"""One file a recipe: roles, reference role, model, checks, finish, the words for DICOM; the dict has them by name."""

from enhancement.recipes.amplification import BONE_2022, T1C_PRO
from enhancement.recipes.base import Recipe

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (T1C_PRO, BONE_2022)}
