"""Trackers of curves and results: W&B, and every logger of Lightning."""
