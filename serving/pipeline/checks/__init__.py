"""Detectors that guards and metrics share."""
