"""Plans of runs, the names that follow from them, and the messages of workers."""
