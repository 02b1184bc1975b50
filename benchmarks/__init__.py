"""Speed and accuracy comparisons that the docs quote, each one command."""
