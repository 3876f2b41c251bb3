"""What calibration leaves: histograms, ranges and second moments of activations."""
