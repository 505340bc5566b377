"""How an image enters a store: locks, commits, repair, and the zip to carry."""
