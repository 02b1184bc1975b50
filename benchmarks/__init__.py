"""Benchmarks that the docs quote, one command each. Their worker threads wait like those of the project."""

from experiment.run.cores import sleep_while_waiting

sleep_while_waiting()
