"""The report as one HTML file, without network, for phone and desktop, light and dark."""

from autoprec.report.page.charts import front_chart, front_png
from autoprec.report.page.document import page

__all__ = ["front_chart", "front_png", "page"]
