"""The machine that runs are on, and the processes that they have there."""
