"""What is kept on disk: runs with their finished folds, leases, and rows that are computed once."""
