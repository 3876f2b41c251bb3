"""A study: the search loop, and the public class that does what the command line does."""

from autoprec.study.definition import find_spec
from autoprec.study.events import Watcher
from autoprec.study.findings.comparison import compare as compare_studies
from autoprec.study.shipping.verification import verify as verify_export
from autoprec.study.study import Study

__all__ = ["Study", "Watcher", "compare_studies", "find_spec", "verify_export"]
