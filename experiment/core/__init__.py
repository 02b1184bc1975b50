"""What everything else is built on: tables, contracts, errors, seeds, identity, timing, building from config."""
