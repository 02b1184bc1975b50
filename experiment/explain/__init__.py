"""Heat maps of finished models."""
