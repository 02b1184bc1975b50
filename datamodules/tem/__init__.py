"""Synthetic electron micrographs of the glomerular capillary wall, with known truth.

The scene is laid out as in a real capillary loop. The glomerular basement membrane is a curved ribbon,
convex towards the urinary space. From outside inwards: podocyte body, foot processes with filtration slits,
basement membrane (lamina densa between paler laminae rarae), fenestrated endothelium, capillary lumen. Dark
is electron-dense. Positive images also hold granules (immune-complex deposits) in or against the ribbon:
subepithelial, intramembranous or subendothelial. Mitochondria, lipid droplets, vesicles, erythrocytes and
stain precipitate are drawn alike in positive and negative images.

Lengths are in nm and draws do not depend on the pixel count: the same seed at a larger size is the same
scene sampled finer, with fresh shot noise (granules under 1.25 pixels are enlarged, so that none is lost).

This is a teaching and testing set, no substitute for real images: it cannot tell how a model does on those.
"""

from datamodules.tem.micrograph import MIN_SIZE, render
from datamodules.tem.patient import Patient, draw_patient

__all__ = ["MIN_SIZE", "Patient", "draw_patient", "render"]
