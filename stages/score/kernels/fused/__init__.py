"""The core's own loops: all steps of a row of pixels in one, from logits to ranks to counts."""
