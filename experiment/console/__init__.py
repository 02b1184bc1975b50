"""What a person sees of a command: progress, results, errors, the state of all runs."""
