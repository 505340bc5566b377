"""Score maps in the files that benchmarks' own tools read."""
