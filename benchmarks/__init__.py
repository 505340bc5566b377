"""What this project costs beside the plain way: `make bench`, or `python -m benchmarks.scoring` for one of them."""
