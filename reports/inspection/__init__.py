"""The page that looks inside a trained run."""
