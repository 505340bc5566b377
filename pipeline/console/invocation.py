"""How the program was called: its name, and where the words after it are kept."""

PROGRAM = "pipe"

WORDS = "logitpipe.console.invocation.words"
"""Under this name a context keeps the words that followed `pipe`, for the record of a run."""
