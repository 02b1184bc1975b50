"""Storage on disk: runs with their folds, leases, and rows that are computed once."""
