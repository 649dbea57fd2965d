"""What makes a label trustworthy: scores, calibration, gate."""
