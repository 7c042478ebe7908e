"""Fitted models as plain numbers: calibrated thresholds with their proof, and coefficients."""
