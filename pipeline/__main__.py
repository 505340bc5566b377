"""`python -m logitpipe`: the command `pipe` where no script is installed."""

from logitpipe.cli import main

main()
