"""What a person sees of a command: progress, results, errors."""
