"""The command `pipe`: parse, validate, call a stage, show the result."""
