"""The statistics of calibration: histograms, ranges and second moments of activations."""
