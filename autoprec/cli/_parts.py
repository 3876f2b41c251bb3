"""What commands use of the package; each name is imported on first use (PEP 562).

Help, completion and mistyped options therefore answer at once, without loading engines, databases or plots.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, Any

from autoprec.loading import staying

if TYPE_CHECKING:
    from importlib.metadata import PackageNotFoundError, version

    from autoprec.backends import PACKAGES
    from autoprec.backends.checks import installed_engine, machine_checks
    from autoprec.backends.target import TargetBackend
    from autoprec.cli._views import diagnosis_view, end_lines, progress_view, show_plot_and_front
    from autoprec.demo import write_demo
    from autoprec.exporters.manifest import read_manifest
    from autoprec.recipes.writing import export_checkpoint, write_definition
    from autoprec.records import TrialAndNoise, to_json
    from autoprec.report import (
        LiveProgress,
        as_json,
        blocks_table,
        comparison_view,
        console,
        explanation_view,
        front_png,
        is_no_faster,
        layerwise_view,
        page,
        plan_view,
        sensitivity_table,
        studies_table,
        trial_view,
        trials_csv,
        trials_table,
        verification_view,
        write_file,
        write_trials,
    )
    from autoprec.spec import BackendSection, TargetSection
    from autoprec.study import Study, compare_studies, verify_export
    from autoprec.study.cluster import search_on_ray
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
        "autoprec.backends": ("PACKAGES",),
        "autoprec.backends.checks": ("installed_engine", "machine_checks"),
        "autoprec.backends.target": ("TargetBackend",),
        "autoprec.cli._views": ("diagnosis_view", "end_lines", "progress_view", "show_plot_and_front"),
        "importlib.metadata": ("PackageNotFoundError", "version"),
        "autoprec.demo": ("write_demo",),
        "autoprec.exporters.manifest": ("read_manifest",),
        "autoprec.records": ("TrialAndNoise", "to_json"),
        "autoprec.recipes.writing": ("export_checkpoint", "write_definition"),
        "autoprec.spec": ("BackendSection", "TargetSection"),
        "autoprec.study": ("Study", "compare_studies", "verify_export"),
        "autoprec.study.cluster": ("search_on_ray",),
        "autoprec.study.overview.clearing": ("clear",),
        "autoprec.study.definition": ("default_definition", "make_default"),
        "autoprec.study.diagnosis": ("compare", "diagnose"),
        "autoprec.study.overview.listing": ("list_studies",),
        "autoprec.study.events": ("Quiet",),
        "autoprec.study.overview.plan": ("plan",),
        "autoprec.study.shipping.picks": ("picks",),
        "autoprec.study.rules": ("Patience", "TargetSpeedup"),
    }
    _HOME = {name: home for home, names in _HOMES.items() for name in names}

    def __getattr__(name: str) -> Any:
        # Python asks every module for names such as `__path__`; those must not load the report.
        if name.startswith("__"):
            raise AttributeError(name)
        with staying():
            value = pkgutil.resolve_name(f"{_HOME.get(name, 'autoprec.report')}:{name}")
        # Python calls this function only for names that the module lacks, so once for each.
        globals()[name] = value
        return value


__all__ = [
    "PACKAGES",
    "BackendSection",
    "LiveProgress",
    "PackageNotFoundError",
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
    "console",
    "default_definition",
    "diagnose",
    "diagnosis_view",
    "end_lines",
    "explanation_view",
    "export_checkpoint",
    "front_png",
    "installed_engine",
    "is_no_faster",
    "layerwise_view",
    "list_studies",
    "machine_checks",
    "make_default",
    "page",
    "picks",
    "plan",
    "plan_view",
    "progress_view",
    "read_manifest",
    "search_on_ray",
    "sensitivity_table",
    "show_plot_and_front",
    "studies_table",
    "to_json",
    "trial_view",
    "trials_csv",
    "trials_table",
    "verification_view",
    "verify_export",
    "version",
    "write_definition",
    "write_demo",
    "write_file",
    "write_trials",
]
