"""Heat maps of what a model looks at, through SVM head and ensemble, which are differentiable too."""

from collections.abc import Sequence

import numpy as np
import torch
from captum.attr import NoiseTunnel, Saliency
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from experiment.core.contracts import FoldModel

SAMPLES, NOISE = 8, 0.08  # noisy copies per image, and the standard deviation of the noise as a share of the full range
BLUR = 2.0 / 96  # standard deviation of the smoothing, in image sides
BOUND = 1e-6  # least distance of probabilities to 0 and 1: a certain model would have no gradient


def heat_maps(model: FoldModel, images: Tensor, positive: int, seed: int = 0) -> NDArray[np.float32]:
    """Compute how much each pixel moves the log-odds of the positive class: SmoothGrad (Smilkov et al. 2017), blurred.

    The model is in eval mode, and the images (B, 3, H, H) in [0, 1] are on its device. The heat maps (B, H, H) are not
    negative, and the maximum of each is 1.
    """
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        tunnel = NoiseTunnel(Saliency(lambda x: model(x)[:, positive].clamp(BOUND, 1 - BOUND).logit()))
        gradient = tunnel.attribute(
            images.clone().requires_grad_(), nt_type="smoothgrad", nt_samples=SAMPLES, nt_samples_batch_size=1,
            stdevs=NOISE, abs=False,
        )  # fmt: skip
    sigma = BLUR * images.shape[-1]
    smooth = gaussian_blur(gradient.detach().abs().sum(dim=1, keepdim=True), [int(4 * sigma) | 1] * 2, [sigma, sigma])[:, 0]
    peak = smooth.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(smooth.dtype).tiny)
    return np.asarray((smooth / peak).float().cpu().numpy())


def peaks_inside(heat: NDArray[np.float32], masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Return whether the hottest pixel of each map (B, H, H) is inside its mask (pointing game, Zhang et al. 2018)."""
    return np.array([mask.ravel()[one.argmax()] for one, mask in zip(heat, masks, strict=True)], dtype=bool)


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the image, and to its right the grey image with the heat in red: (H, W) or (H, W, 3) to (H, 2W, 3)."""
    colour = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    grey = colour.mean(axis=2, keepdims=True)
    hot = heat[..., None] ** 1.5
    red = grey * (1 - hot) + np.array([230.0, 60.0, 30.0]) * hot
    return np.concatenate([colour, red.round().astype(np.uint8)], axis=1)
