"""One LightningModule per file: resnet, resnet_svm, ensemble; and what they are made of: trunk, reading, SVM head."""
