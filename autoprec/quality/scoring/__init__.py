"""How like two stacks of masks are, in plain NumPy: one file for each metric, named after it.

An export ships its metric's file as `metric.py`, for `verify.py` to score with where autoprec is not
installed: so a file here imports NumPy alone, and defines

    score(reference, candidate, levels) -> (scores, pixels)

of logits float32 [masks, h, w]; `levels` has the definition's `threshold`, and the `low`est and the `high`est
value of all samples. `scores`, float64, are 1 where two masks are alike, one for each mask
(for each class where planes are classes); `pixels`, int64, is how many each is about: where they are few, it
counts less.
"""
