"""Intervals, tests, calibration and curves for predictions of grouped images. Pure functions on arrays.

Images of one patient resemble each other, so the patient, not the image, is what is resampled, swapped and counted here.
"""
