"""What the commands and the functions of `import logitpipe` both call: a run of a network, a run of scores."""
