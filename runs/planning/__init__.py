"""From an experiment to the runs that it takes: sizes, budgets, trials."""
