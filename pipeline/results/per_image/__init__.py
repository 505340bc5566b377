"""Histograms of single images, and what follows from them: resamples of the images, figures of each image."""
