"""From an experiment file to records on disk: budgets, training, scoring, the run store and the executor."""
