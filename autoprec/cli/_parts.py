"""What commands use of the package; each name loads when it is first used (PEP 562).

So help, completion and a mistyped option answer at once: without an engine, a database, or a plot.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoprec.backends.target import TargetBackend
    from autoprec.cli._diagnosis import diagnosis_view
    from autoprec.demo import write_demo
    from autoprec.exporters.manifest import read_manifest
    from autoprec.recipes.writing import export_checkpoint, write_definition
    from autoprec.records import TrialAndNoise, to_json
    from autoprec.report import (
        LiveProgress,
        as_json,
        blocks_table,
        comparison_view,
        explanation_view,
        front_plot,
        front_png,
        front_table,
        is_no_faster,
        layerwise_view,
        next_steps,
        page,
        plan_view,
        sensitivity_table,
        shares,
        shares_line,
        studies_table,
        trial_view,
        trials_csv,
        trials_table,
        verification_view,
        workers_table,
        write_file,
        write_trials,
    )
    from autoprec.spec import BackendSection, TargetSection
    from autoprec.study import Study, compare_studies, verify_export
    from autoprec.study.definition import default_definition, make_default
    from autoprec.study.diagnosis import compare, diagnose
    from autoprec.study.events import Quiet
    from autoprec.study.overview.clearing import clear
    from autoprec.study.overview.listing import list_studies
    from autoprec.study.overview.plan import plan
    from autoprec.study.rules import Patience, TargetSpeedup
    from autoprec.study.shipping.picks import picks
else:
    _HOMES = {
        "autoprec.backends.target": ("TargetBackend",),
        "autoprec.cli._diagnosis": ("diagnosis_view",),
        "autoprec.demo": ("write_demo",),
        "autoprec.exporters.manifest": ("read_manifest",),
        "autoprec.records": ("TrialAndNoise", "to_json"),
        "autoprec.recipes.writing": ("export_checkpoint", "write_definition"),
        "autoprec.spec": ("BackendSection", "TargetSection"),
        "autoprec.study": ("Study", "compare_studies", "verify_export"),
        "autoprec.study.overview.clearing": ("clear",),
        "autoprec.study.definition": ("default_definition", "make_default"),
        "autoprec.study.diagnosis": ("compare", "diagnose"),
        "autoprec.study.overview.listing": ("list_studies",),
        "autoprec.study.events": ("Quiet",),
        "autoprec.study.shipping.picks": ("picks",),
        "autoprec.study.overview.plan": ("plan",),
        "autoprec.study.rules": ("Patience", "TargetSpeedup"),
    }
    _HOME = {name: home for home, names in _HOMES.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = pkgutil.resolve_name(f"{_HOME.get(name, 'autoprec.report')}:{name}")
        globals()[name] = value
        return value


__all__ = [
    "BackendSection",
    "LiveProgress",
    "Patience",
    "Quiet",
    "Study",
    "TargetBackend",
    "TargetSection",
    "TargetSpeedup",
    "TrialAndNoise",
    "as_json",
    "blocks_table",
    "clear",
    "compare",
    "compare_studies",
    "comparison_view",
    "default_definition",
    "diagnose",
    "diagnosis_view",
    "explanation_view",
    "export_checkpoint",
    "front_plot",
    "front_png",
    "front_table",
    "is_no_faster",
    "layerwise_view",
    "list_studies",
    "make_default",
    "next_steps",
    "page",
    "picks",
    "plan",
    "plan_view",
    "read_manifest",
    "sensitivity_table",
    "shares",
    "shares_line",
    "studies_table",
    "to_json",
    "trial_view",
    "trials_csv",
    "trials_table",
    "verification_view",
    "verify_export",
    "workers_table",
    "write_definition",
    "write_demo",
    "write_file",
    "write_trials",
]
