"""Base of all other packages: tables, contracts, errors, seeds, identity, timing, building from config."""
