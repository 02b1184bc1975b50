"""Settings of models small enough for tests."""

TRUNK = {"library": "torchvision", "name": "resnet18", "weights": None}
# Two taps of different width, so that a join along the wrong axis cannot pass.
READING = {"taps": ["layer1", "layer3"], "pooling": ["mean", "max"], "symmetries": 1}
# A small trunk of each family: residual, convolutional with layer norm, transformer.
FAMILIES = {
    "resnet": TRUNK,
    "convnext": {"library": "timm", "name": "convnext_atto", "weights": None},
    "vit": {"library": "timm", "name": "vit_tiny_patch16_224", "weights": None},
}
RESNET = {
    "trunk": TRUNK, "freeze_until": None,
    "pooling": ["mean"], "symmetries": 1, "lr": 1e-3, "layer_decay": 1.0, "weight_decay": 0.01, "schedule": "one_cycle",
    "warmup": 0.3, "class_weights": "balanced", "label_smoothing": 0.0, "dropout": 0.0,
}  # fmt: skip
SVM = {
    "kernel": "rbf", "C": [0.1, 1, 10], "gamma": [0.1, 1], "inner_folds": 3, "class_weights": "balanced",
    "exact_max": 4000, "nystroem": 1000,
}  # fmt: skip
TRAINER = {
    "_target_": "pytorch_lightning.Trainer", "accelerator": "cpu", "devices": 1, "precision": "32-true", "max_epochs": 2,
    "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
}  # fmt: skip
