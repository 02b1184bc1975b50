"""One job: recipe, folds, cross-validation, training, folds in parallel, publishing."""
