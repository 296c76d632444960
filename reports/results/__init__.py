"""Results read from the tables: scores by place, their variances, gates and trials."""
