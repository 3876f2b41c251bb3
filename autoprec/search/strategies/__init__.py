"""The strategies themselves, one file each: ours, and Optuna's samplers."""
