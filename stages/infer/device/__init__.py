"""Where the network runs, and how its logits leave that place."""
