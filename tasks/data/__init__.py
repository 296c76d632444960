"""Sources of rows, and their preparation as encoded examples."""
