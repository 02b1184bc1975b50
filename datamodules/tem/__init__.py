"""Synthetic electron micrographs of the glomerular capillary wall, with masks of granules.

The scene has the structure of a real capillary loop. The glomerular basement membrane is a curved ribbon,
convex towards the urinary space. From outside inwards: podocyte body, foot processes with filtration slits,
basement membrane (lamina densa between paler laminae rarae), fenestrated endothelium, capillary lumen. Dark
is electron-dense. Positive images also hold granules (immune-complex deposits) in or against the ribbon:
subepithelial, intramembranous or subendothelial. Mitochondria, lipid droplets, vesicles, erythrocytes and
stain precipitate are drawn alike in positive and negative images.

Lengths are in nm and draws do not depend on the pixel count: the same seed at a larger size is the same
scene sampled finer, with fresh shot noise (granules under 1.25 pixels are enlarged, so that none is lost).

The images are for teaching and testing, no substitute for real ones: results on them do not predict results on real images.
"""

from datamodules.tem.micrograph import MIN_SIZE, render
from datamodules.tem.patient import Patient, draw_patient

__all__ = ["MIN_SIZE", "Patient", "draw_patient", "render"]
