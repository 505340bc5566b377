"""One self-contained HTML page from the results of a run."""
