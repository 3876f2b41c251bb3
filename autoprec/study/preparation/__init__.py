"""What a search needs, made once from the definition: load, calibrate, judge, bind."""

from autoprec.study.preparation.prepared import Prepared, prepare
from autoprec.study.preparation.stages import Asks, load_blocks

__all__ = ["Asks", "Prepared", "load_blocks", "prepare"]
