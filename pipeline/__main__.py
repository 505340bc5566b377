"""`python -m pipeline`: the command `pipe` where no script is installed."""

from pipeline.cli import main

main()
