"""Metrics, intervals, tests and curves of out-of-fold predictions, and the combiners of an ensemble."""
