"""Sweeps: trials, their ledger, racing, Optuna, and what the terminal and a page say of them."""
