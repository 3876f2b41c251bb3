"""Writing candidates in parallel, in processes that each hold the model and its calibration.

`Writers` is the search's side; `python -m autoprec.writing FD` is one process, which loads a `Material` once
and writes any number of candidates from it.
"""

from autoprec.writing.material import Material
from autoprec.writing.writers import Writers

__all__ = ["Material", "Writers"]
