"""What was fitted on data and is read as plain numbers: thresholds with their proof, models as coefficients."""
