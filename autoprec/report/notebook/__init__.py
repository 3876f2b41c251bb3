"""What Python sessions and notebooks show: the front as a table, charts, trials as a data frame."""

from autoprec.report.notebook.chart import Chart
from autoprec.report.notebook.frame import trials_dataframe
from autoprec.report.notebook.front import Front, study_html

__all__ = ["Chart", "Front", "study_html", "trials_dataframe"]
