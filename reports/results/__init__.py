"""What the tables say: scores by place, their variances, gates and trials."""
