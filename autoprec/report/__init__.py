"""What people see: tables, a text plot, live progress, an HTML page; and JSON for scripts."""

from autoprec.report._figures import is_no_faster, marks
from autoprec.report.fidelity import fidelity_lines
from autoprec.report.files import write_file
from autoprec.report.json_text import as_json
from autoprec.report.notebook import Chart, Front, study_html, trials_dataframe
from autoprec.report.page import front_chart, front_png, page
from autoprec.report.plot import front_plot
from autoprec.report.progress import LiveProgress
from autoprec.report.steps import next_steps
from autoprec.report.terminal._columns import Column, Columns
from autoprec.report.terminal.comparison import comparison_view
from autoprec.report.terminal.harmless import Drawing, HarmlessConsole, console
from autoprec.report.terminal.layers import layerwise_view
from autoprec.report.terminal.listings import studies_table, trials_csv, trials_table, write_trials
from autoprec.report.terminal.plan import plan_view
from autoprec.report.terminal.story import explanation_view
from autoprec.report.terminal.tables import blocks_table, front_table, sensitivity_table
from autoprec.report.terminal.trial import trial_view
from autoprec.report.terminal.verdict import verification_view
from autoprec.report.terminal.workers import shares, shares_line, workers_table
from autoprec.visible import visible

__all__ = [
    "Chart",
    "Column",
    "Columns",
    "Drawing",
    "Front",
    "HarmlessConsole",
    "LiveProgress",
    "as_json",
    "blocks_table",
    "comparison_view",
    "console",
    "explanation_view",
    "fidelity_lines",
    "front_chart",
    "front_plot",
    "front_png",
    "front_table",
    "is_no_faster",
    "layerwise_view",
    "marks",
    "next_steps",
    "page",
    "plan_view",
    "sensitivity_table",
    "shares",
    "shares_line",
    "studies_table",
    "study_html",
    "trial_view",
    "trials_csv",
    "trials_dataframe",
    "trials_table",
    "verification_view",
    "visible",
    "workers_table",
    "write_file",
    "write_trials",
]
