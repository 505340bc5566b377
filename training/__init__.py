"""The trainings of the networks that `pipe demo` carries: `python -m training.erfnet`, `python -m training.eomt`."""
