"""The charts of the page, as SVG: axes, curves, distributions of scores, sweeps over temperature."""
