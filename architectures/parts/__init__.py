"""Parts that designers compare with the usual ones; each stands in the place of a component in one line."""
