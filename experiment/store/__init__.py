"""What lies on disk: runs with their finished folds, who is at an unfinished one, and what is computed once for all runs."""
