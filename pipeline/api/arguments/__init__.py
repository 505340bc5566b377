"""What functions of the API take and commands have options for: stores, methods, protocols, progress."""
