"""What commands share at a terminal: options, settings, messages, progress, text."""
