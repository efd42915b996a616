"""One file a recipe: what goes in, what comes out, and the words for it."""
