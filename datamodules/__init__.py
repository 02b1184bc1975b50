"""LightningDataModules with k-fold splits: one file a data set, beside the pieces that they share."""
