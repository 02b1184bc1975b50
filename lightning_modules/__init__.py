"""One LightningModule a file: resnet, resnet_svm, ensemble; and what they are made of: backbone, SVM head."""
