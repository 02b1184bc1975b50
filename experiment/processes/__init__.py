"""Folds side by side in several processes, one fold on several processes, and jobs on several machines."""
