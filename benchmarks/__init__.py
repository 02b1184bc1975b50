"""Comparisons that the docs quote, one command each. Processes that they start wait as those of the project do."""

from experiment.run.cores import sleep_while_waiting

sleep_while_waiting()
