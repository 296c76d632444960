"""The records of runs on disk, and who may write them."""
