"""Upper bound of this machine's speed: forward passes of a bare ResNet-18 up to layer4, at the project's precision.

    python -m benchmarks.bare_forward --image-size 160 --images 910

No decoding, pooling or views: the least cost of features. Prints JSON.
"""

import argparse
import json
import time

import torch
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

from experiment.run.hardware import best_precision, keep_freed_memory

BATCH = 16  # as conf/data/folder.yaml
WARM_UP = 3


def seconds_of_features(size: int, images: int) -> float:
    """Measure the seconds of forward passes for this many square images."""
    keep_freed_memory()  # as in the project; without it the bare rate would be too slow a reference
    net = create_feature_extractor(resnet18().eval(), ["layer4"]).to(memory_format=torch.channels_last)
    batch = torch.rand(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
    bfloat16 = best_precision("cpu") == "bf16-mixed"
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for _ in range(WARM_UP):
            net(batch)
        began = time.perf_counter()
        for first in range(0, images, BATCH):
            net(batch[: images - first])
        return time.perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--images", type=int, required=True)
    chosen = parser.parse_args()
    print(json.dumps({"seconds": {"features": seconds_of_features(chosen.image_size, chosen.images)}}))
