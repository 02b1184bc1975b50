"""Settings of models small enough for tests."""

# Two taps of different width, so that a join along the wrong axis cannot pass.
BACKBONE = {"name": "resnet18", "weights": None, "taps": ["layer1", "layer3"], "pooling": ["mean", "max"], "symmetries": 1}
RESNET = {
    "backbone": BACKBONE, "freeze_until": None,
    "pooling": ["mean"], "lr": 1e-3, "layer_decay": 1.0, "weight_decay": 0.01, "schedule": "one_cycle",
    "warmup": 0.3, "class_weights": "balanced", "label_smoothing": 0.0, "dropout": 0.0,
}  # fmt: skip
SVM = {"kernel": "rbf", "C": [0.1, 1, 10], "gamma": [0.1, 1], "inner_folds": 3, "class_weights": "balanced"}
