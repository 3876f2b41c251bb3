"""autoprec finds, overnight, the precision of every block of an ONNX mask model.

`Study` has the verbs of the command line. Importing it loads no engine: a backend loads when it is named.
"""

from autoprec.study import Study, Watcher, write_definition

__all__ = ["Study", "Watcher", "write_definition"]
