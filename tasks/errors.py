"""What went wrong with the user's input, in one line."""


class InputError(ValueError):
    """Wrong input: the message names the place, what was given, what was expected and what to do, in one line.

    The command line prints it on stderr and exits with status 2.
    """
