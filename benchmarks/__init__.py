"""What this project costs, beside what the plain way costs: `make bench`, or `python -m benchmarks.scoring` for one."""
