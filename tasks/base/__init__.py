"""Examples, values and errors that every part of the tasks shares."""
