"""The engine: folds, out-of-fold tables, stages, store, combining, metrics. It knows no concrete model and no data set."""

__version__ = "0.2.0"
