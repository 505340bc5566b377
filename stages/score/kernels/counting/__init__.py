"""What is counted of one image: ranks into bins, anomalous ranks and the gaps between them, components, classes."""
