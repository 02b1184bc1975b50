"""Sweeps: trials, their ledger, racing, Optuna, and their results in the terminal and on a page."""
