"""The strategies, one file each: autoprec's own and Optuna's samplers."""
