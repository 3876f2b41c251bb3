"""Makes `version_N.db`, a tiny database of the schema's present version, for `test_files.py` to open.

Run once when the schema's version rises: `PYTHONPATH=tests/kit python tests/store/make_version.py`.
"""

from __future__ import annotations

from pathlib import Path

from autoprec.records import Reference
from autoprec.store import Store
from autoprec.store._schema import VERSION
from trial_records import BLOCKS, IDENTITY, complete, failed, running

REFERENCE = Reference(
    precision="fp16", model_digest="r", latency_ms=10, latency_noise=0.01, loss_noise=0, float_loss=0.001
)

if __name__ == "__main__":
    path = Path(__file__).parent / f"version_{VERSION}.db"
    path.unlink(missing_ok=True)
    with Store.open(path) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        store.put_reference("demo", REFERENCE)
        store.end_run(store.begin_run("demo", "50"), 2)
        store.put_fact("demo", "sensitivity", "stem", 0.5)
        store.finish(complete(0, 5.0, 0.01, origin="anchor"))
        store.finish(failed(1))
        store.begin(running(2))
