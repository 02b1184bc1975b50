"""Sweeps: what a trial is worth, what others have tried, when to give one up, and Optuna's part in it."""
