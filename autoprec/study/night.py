"""One run of a search: anchors, interrupted trials, then the strategy, until the budget is spent.

The evidence of a trial is stored first and Optuna is told after it, so a kill between the two is mended
from the evidence when the next run starts.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import msgspec
import numpy as np
import optuna
from optuna.trial import Trial, TrialState

from autoprec.backends.timing import Deadline, elapsed
from autoprec.errors import TrialError
from autoprec.measurement import Bench, Job
from autoprec.records import Assignment, Failure, Interval, Measurement, Origin, Reference, TrialRecord
from autoprec.search import REFINED, Priors, create_sampler, finalists, propose
from autoprec.spec import Budget
from autoprec.store import Store
from autoprec.study.events import Watcher
from autoprec.study.preparation import Prepared
from autoprec.study.priors import load_priors, measure_sensitivity
from autoprec.study.proposal import Proposal
from autoprec.study.reference import establish

_REPEATS = 100
"""So many proposals in a row that were measured before, and an unseen one is drawn at random."""
_DRAWS = 10_000
"""So many draws without an unseen assignment, and the search space counts as exhausted."""


class Night:
    """One run; `stop` ends it after the trial in hand.

    Args:
        prepared: model, blocks, rewriter and identity.
        store: the open store, bound to the study.
        trials: the Optuna study in the same file.
        bench: measures candidates in the worker.
        watcher: is told of every step.
    """

    def __init__(
        self, prepared: Prepared, store: Store, trials: optuna.Study, bench: Bench, watcher: Watcher
    ) -> None:
        self._prepared = prepared
        self._store = store
        self._trials = trials
        self._bench = bench
        self._watcher = watcher
        self._name = prepared.spec.name
        self._fingerprint = prepared.identity.fingerprint.digest
        self._known: dict[str, Measurement] = {}
        self._settled: dict[str, TrialRecord] = {}
        self._interrupted: Counter[Assignment] = Counter()
        self._has_strategy = False
        self._stopping = False

    @property
    def is_stopping(self) -> bool:
        """Whether the run is to end."""
        return self._stopping

    def stop(self) -> None:
        """End the run after the trial in hand."""
        self._stopping = True

    def run(self, budget: Budget) -> int:
        """Run trials until the budget is spent; returns how many were finished.

        Trials that were answered from the store do not count. Raises `UserError` where the reference is
        unfit or something outside the candidates is broken; what is stored stays.
        """
        self._reconcile()
        reference = self._store.reference(self._name) or self._establish()
        earlier = self._store.trials(self._name)
        self._watcher.starts(
            trials=budget.trials, seconds=budget.seconds, reference=reference, earlier=earlier
        )
        deadline = Deadline(budget.seconds)
        done, last = 0, self._finalists(budget)
        searching = budget.trials - last if budget.trials else None
        while not self._stopping and not deadline.is_over and (searching is None or done < searching):
            proposal = self._next()
            if proposal is None:
                self._watcher.say("every assignment has been measured: nothing is left to search")
                break
            done += self._serve(proposal, reference)
        for _ in range(last):
            again = finalists(self._store.trials(self._name), 1)
            if self._stopping or not again:
                break
            done += self._serve(self._queued(again[0], "finalist"), reference)
        return done

    def refine(self, assignment: Assignment, label: str, reference: Reference) -> int:
        """Measure refined weights; returns the trial's number. Strategies do not learn from it."""
        self._reconcile()
        trial = self._queued(assignment, "refined").trial
        trial.set_user_attr(REFINED, True)
        self._serve(Proposal(trial, assignment, "refined", label), reference)
        return int(trial.number)

    def _finalists(self, budget: Budget) -> int:
        """How many front points are measured again before the run ends; none in a very short run."""
        wanted = self._prepared.spec.search.finalists
        return wanted if budget.trials is None or budget.trials >= 5 * wanted else 0

    def _reconcile(self) -> None:
        """Settle what a killed run left behind: mark its trial interrupted, tell Optuna what is stored."""
        for record in self._store.running(self._name):
            self._store.finish(msgspec.structs.replace(record.settled(), end=_now()))
        records = {record.number: record for record in self._store.trials(self._name)}
        for frozen in self._trials.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._tell(frozen.number, records.get(frozen.number))
        for record in records.values():
            if record.failure is not None and record.failure.kind == "interrupted":
                self._interrupted[record.assignment] += record.origin != "refined"
            else:
                self._settled[record.assignment.digest] = record

    def _tell(self, number: int, record: TrialRecord | None) -> None:
        """Give Optuna the outcome of a trial; it forgets nothing that it was told before."""
        if record is not None and record.state == "complete":
            self._trials.tell(number, (record.latency_ms, record.loss))
        else:
            self._trials.tell(number, state=TrialState.FAIL)

    def _establish(self) -> Reference:
        """Measure the reference and store it. Raises `StudyError` if it is unfit."""
        # The anchors with the assignments that this takes need not be measured twice.
        reference, self._known = establish(self._prepared, self._measure)
        self._store.put_reference(self._name, reference)
        return reference

    def _next(self) -> Proposal | None:
        """The first anchor without an outcome, else an interrupted trial, else what the strategy proposes.

        A trial that was interrupted is queued again once: it may be what stopped the machine.
        """
        for _, assignment in self._prepared.anchors:
            if assignment.digest not in self._settled and self._interrupted[assignment] < 2:
                return self._queued(assignment, "anchor")
        for assignment, times in self._interrupted.items():
            if times == 1 and assignment.digest not in self._settled:
                return self._queued(assignment, "queued")
        self._use_strategy()
        for _ in range(_REPEATS):
            trial, assignment = propose(self._trials, self._prepared.blocks)
            earlier = self._settled.get(assignment.digest)
            if earlier is None:
                return Proposal(trial, assignment, "search")
            self._repeat(trial, earlier)
        fresh = self._unseen()
        return None if fresh is None else self._queued(fresh, "search")

    def _use_strategy(self) -> None:
        """Once the anchors are there: measure the priors, and give Optuna the definition's sampler."""
        if self._has_strategy:
            return
        search, priors = self._prepared.spec.search, Priors()
        if search.strategy == "autoprec":
            measure_sensitivity(self._prepared, self._store, self._bench, self._watcher.say)
            priors = load_priors(self._store, self._name, search.accepted_loss)
        earlier = len(self._trials.get_trials(deepcopy=False))
        self._trials.sampler = create_sampler(
            search.strategy, seed=search.seed, blocks=self._prepared.blocks, priors=priors, trials=earlier
        )
        self._has_strategy = True

    def _unseen(self) -> Assignment | None:
        """An assignment that was never measured, drawn at random; None if none is found."""
        blocks, random = self._prepared.blocks, np.random.default_rng(len(self._settled))
        for _ in range(_DRAWS):
            choices = tuple((block.name, str(random.choice(block.allowed))) for block in blocks)
            if Assignment(choices=choices).digest not in self._settled:
                return Assignment(choices=choices)
        return None

    def _queued(self, assignment: Assignment, origin: Origin) -> Proposal:
        """An Optuna trial with a given assignment; an anchor's keeps its label."""
        labels = {anchor: label for label, anchor in self._prepared.anchors}
        self._trials.enqueue_trial(assignment.as_dict())
        trial, proposed = propose(self._trials, self._prepared.blocks)
        return Proposal(trial, proposed, origin, labels.get(assignment, ""))

    def _excess_mb(self, measurement: Measurement) -> float:
        """By how much a candidate is over the limit of memory; below 0 is within it."""
        limit = self._prepared.spec.search.max_memory_mb
        return 0.0 if limit is None else measurement.peak_memory_bytes / 1e6 - limit

    def _constrain(self, trial: Trial, record: TrialRecord) -> None:
        """Tell Optuna by how much a trial is over its limit, if it has one."""
        if self._prepared.spec.search.max_memory_mb is not None and record.state == "complete":
            trial.set_constraint("max_memory_mb", record.excess_mb)

    def _repeat(self, trial: Trial, earlier: TrialRecord) -> None:
        """Answer a proposal that was measured before from the store."""
        record = msgspec.structs.replace(
            earlier,
            number=trial.number,
            origin="reused",
            label="",
            reused_from=earlier.number,
            start=_now(),
            end=_now(),
        )
        self._constrain(trial, record)
        self._store.finish(record)
        self._tell(trial.number, record)

    def _serve(self, proposal: Proposal, reference: Reference) -> int:
        """Measure one proposal and store its outcome, whatever it is; returns 1, for the count."""
        record = TrialRecord(
            study=self._name,
            number=proposal.trial.number,
            state="running",
            origin=proposal.origin,
            label=proposal.label,
            assignment=proposal.assignment,
            fingerprint=self._fingerprint,
            start=_now(),
        )
        self._store.begin(record)
        self._watcher.begins(record)
        try:
            profiled = record.origin == "anchor"
            measurement = self._measure(record.assignment, reference.latency_ms, profiled=profiled)
            record = msgspec.structs.replace(
                record,
                state="complete",
                measurement=measurement,
                excess_mb=self._excess_mb(measurement),
                end=_now(),
            )
        except TrialError as error:
            failure = Failure(kind=error.kind, message=str(error))
            record = msgspec.structs.replace(record, state="failed", failure=failure, end=_now())
        self._constrain(proposal.trial, record)  # before it is finished: a kill in between loses nothing
        self._store.finish(record)
        self._tell(record.number, record)
        self._settled[record.assignment.digest] = record
        self._watcher.ends(record, self._store.front(self._name))
        return 1

    def _front(self) -> tuple[tuple[Interval, Interval], ...]:
        """Intervals of the front's points, in ms and in loss: what a candidate is raced against."""
        reference, points = self._store.reference(self._name), self._store.front(self._name)
        if reference is None:
            return ()
        return tuple(
            (found.latency.interval_ms(reference.latency_ms), found.quality.loss_interval)
            for point in points
            if (found := point.measurement) is not None
        )

    def _measure(
        self, assignment: Assignment, reference_ms: float | None, *, profiled: bool = True
    ) -> Measurement:
        """Rewrite, then measure in the worker. Raises `TrialError`, or `StudyError` for a full disk."""
        known = self._known.pop(assignment.digest, None)
        if known is not None:
            return known
        prepared = self._prepared
        with elapsed() as total, prepared.scratch() as path:
            self._watcher.stage("rewrite")
            with elapsed() as rewriting:
                candidate = prepared.rewrite(assignment, path)
            job = Job(
                setup=prepared.setup,
                candidate_path=candidate.model_path,
                assignment=assignment,
                blocks=prepared.blocks,
                heavy=prepared.deciding(assignment),
                reference_latency_ms=reference_ms,
                profiled=profiled,
                front=() if profiled else self._front(),
            )
            measurement = self._bench.measure(job, self._watcher.stage)
        seconds = msgspec.structs.replace(measurement.seconds, rewrite=rewriting.seconds, total=total.seconds)
        return msgspec.structs.replace(measurement, seconds=seconds)


def _now() -> str:
    """The time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
