"""Where curves and results are shown besides the terminal: W&B, CSV files, reports."""
