"""What `import logitpipe as lp` exports: each function does what the command of its name does."""
