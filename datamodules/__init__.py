"""LightningDataModules with k-fold splits: one file per data set, and their common parts."""
