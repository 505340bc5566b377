"""What a pixel is to the figures: codes of masks, classes that are held to be the same, ground truth of images."""
