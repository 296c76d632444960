"""What the tables say: comparisons, contrasts, verdicts."""
