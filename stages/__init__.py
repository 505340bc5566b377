"""The two stages: `infer` writes a store, `score` reads it; neither imports the other."""
