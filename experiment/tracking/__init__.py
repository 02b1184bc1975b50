"""Trackers of curves and results: W&B and CSV files."""
