"""``python -m archbench``: the command line."""

from archbench.command_line import main

main()
