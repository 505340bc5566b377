"""The compiled loops: logits to ranks, ranks to counts. NumPy arrays in and out; nothing here knows of stores."""
