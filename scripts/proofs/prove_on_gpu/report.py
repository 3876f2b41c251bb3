"""The facts of a proof as Markdown, as far as they are known."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

ACCEPTED = 0.01
STAGES = ("build", "run", "timing", "rewrite", "rest", "between")


def markdown(results: Mapping[str, Any]) -> str:
    """The report."""
    size = results["size"]
    lines = [f"# {results['model']} at {size}x{size}, {results['date'][:10]}", ""]
    masked = f" --mask {results['mask']}" if results.get("mask") else ""
    if results["model"] != "demo":
        lines += ["Random weights of a fixed seed: latencies are real, masks mean nothing.", ""]
    if masked:
        lines += [_masked(results["mask"]), ""]
    lines += [
        f"Written by `python scripts/proofs/prove_on_gpu {results['model']} --size {size}{masked}`.",
        "",
    ]
    if facts := results.get("facts"):
        lines += [*_about(facts), *_front(facts), *_where_time_goes(facts), *_legality(facts)]
        lines += _what_failed(facts)
    if part := results.get("search"):
        lines += _interruption(part)
    if part := results.get("verify"):
        lines += _verified(part)
    if part := results.get("rebuild"):
        lines += _rebuilt(part)
    if part := results.get("repeats"):
        lines += _repeated(part)
    lines += ["## Steps", "", *(f"- {name}: {seconds} s" for name, seconds in results["seconds"].items())]
    lines += [f"- **failed**: {error}" for error in results["errors"]]
    return "\n".join(lines) + "\n"


def _masked(version: str) -> str:
    """A paragraph on what a run behind the mask shows, and what it does not."""
    return (
        f"**This is autoprec's code path for full TensorRT over the kernels of TensorRT-RTX.** TensorRT-RTX "
        f"presents itself as TensorRT {version}, with the classes, methods, signatures and enum members of "
        "that version and no others: a timing cache instead of a kernel cache, no capability named, a "
        "plain execution context, layers told by the inspector. Full TensorRT itself was not run: its speed, "
        "its tactics and what it fuses are not shown here."
    )


def _verified(verification: Mapping[str, Any]) -> list[str]:
    checks = (
        f"- {c['name']}: {'the same' if c['is_same'] else '**not the same**'}; {c['words']}"
        for c in verification["checks"]
    )
    return ["## Verified", "", f"`autoprec verify` ends with {verification['exit_code']}.", "", *checks, ""]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return ["| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows)] + [""]


def _about(facts: Mapping[str, Any]) -> list[str]:
    engine, macs = facts["fingerprint"], facts["macs"] / 1e9
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    size = f"{facts['blocks']} blocks, {facts['parameters'] / 1e6:.1f} M parameters, {macs:.1f} G MACs."
    lines = [f"{engine['version']} on {engine['device']}; {versions}.", "", size, ""]
    if reference := facts["reference"]:
        noise = f"differ by {100 * reference['latency_noise']:.2f} % and lose {reference['loss_noise']:.4f}"
        first = (
            f"Reference {reference['precision']}: {reference['latency_ms']:.4f} ms; two builds of it {noise}"
        )
        lines += [f"{first}; it loses {reference['float_loss']:.4f} against FP32.", ""]
    return lines


def _front(facts: Mapping[str, Any]) -> list[str]:
    rows = []
    for trial in facts["trials"]:
        is_best = trial["number"] in facts["front"]
        if "latency_ms" not in trial or not (is_best or trial["origin"] == "anchor"):
            continue
        fast, loss = trial["speedup"], trial["loss"]
        row = (
            trial["number"],
            "front" if is_best else "",
            trial["label"],
            ", ".join(f"{name} {count}" for name, count in trial["precisions"].items()),
            f"{trial['latency_ms']:.4f}",
            f"{fast[0]:.3f} ({fast[1]:.3f} to {fast[2]:.3f})",
            f"{loss[0]:.4f} ({loss[1]:.4f} to {loss[2]:.4f})",
        )
        rows.append((trial["latency_ms"], row))
    best = [t for t in facts["trials"] if "loss" in t and t["loss"][0] <= ACCEPTED]
    line = f"None of {len(facts['trials'])} trials has a loss of at most {ACCEPTED}."
    if best:
        fastest = max(best, key=lambda trial: trial["speedup"][0])
        line = f"Of {len(facts['trials'])} trials, the fastest with a loss of at most {ACCEPTED} is "
        line += f"{fastest['number']}: {fastest['speedup'][0]:.3f} times as fast as the reference."
    head = ("trial", "", "anchor", "blocks by precision", "ms", "speed-up over the reference", "mask loss")
    return ["## Front and anchors", "", line, "", *_table(head, [row for _, row in sorted(rows)])]


def _where_time_goes(facts: Mapping[str, Any]) -> list[str]:
    seconds = facts["seconds"]
    if not seconds:
        return []
    total = sum(seconds[name] for name in STAGES)
    rows = [(name, f"{seconds[name]:.2f}", f"{100 * seconds[name] / total:.1f} %") for name in STAGES]
    title = "## Where a trial's time goes"
    line = f"{total:.2f} s, medians of {seconds['trials']} trials that are no anchors."
    return [title, "", line, "", *_table(("stage", "seconds", "share"), rows)]


def _legality(facts: Mapping[str, Any]) -> list[str]:
    """What the engine supports, by pattern and precision."""
    verdicts = {(v["pattern"], v["precision"]): v for v in facts["legality"]}
    patterns = sorted({pattern for pattern, _ in verdicts})
    precisions = list(dict.fromkeys(precision for _, precision in verdicts))

    def cell(pattern: str, precision: str) -> str:
        verdict = verdicts.get((pattern, precision))
        if verdict is None:
            return ""
        words = {"legal": "yes", "refused": "fails", "dequantised": f"ran {verdict['ran']}"}
        return words.get(verdict["state"], str(verdict["state"]))

    rows = [(pattern, *(cell(pattern, name) for name in precisions)) for pattern in patterns]
    return ["## What the engine takes", "", *_table(("pattern", *precisions), rows)]


def _what_failed(facts: Mapping[str, Any]) -> list[str]:
    failures, refused = facts["failures"].items(), facts["refused"].items()
    ran = "; ".join(f"{name} x{count}" for name, count in facts["audit"].items())
    return [
        "## What did not work",
        "",
        *(f"- {kind}: {failure['trials']} trials, as: {failure['last']}" for kind, failure in failures),
        *(f"- refused before the first trial, {count} blocks: {reason}" for reason, count in refused),
        "",
        f"Asked, and ran (blocks over all trials): {ran}.",
        "",
        f"Clocks: {json.dumps(facts['clocks'])}.",
        "",
    ]


def _interruption(nights: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["## Killed and resumed", ""]
    for night in nights:
        when, lost = night["finished_when_killed"], night["lost"] or "none"
        end = "" if night["reached_its_budget"] else ", when the time was up"
        running = night["in_flight_when_killed"]
        lines.append(f"- Killed (SIGKILL) with {when} trials finished and {running} running; lost: {lost}.")
        lines.append(f"  Resumed up to {night['finished']} trials, {night['wall_seconds']} s in all{end}.")
    return [*lines, ""]


def _repeated(repeats: Mapping[str, Any]) -> list[str]:
    ratios, rounds = repeats["ratios"], repeats["rounds"]
    off = [100 * abs(ratio - 1) for ratio in ratios]
    line = (
        f"{len(off)} times two new builds of it, {min(rounds)} to {max(rounds)} rounds: the ratio is off by "
        f"{statistics.median(off):.2f} % in the median, {max(off):.2f} % at most; standard deviation "
        f"{100 * statistics.pstdev(ratios, 1.0):.2f} %. {repeats['held']} of the 95 % intervals hold 1."
    )
    return ["## The export against itself", "", line, ""]


def _rebuilt(rebuild: Mapping[str, Any]) -> list[str]:
    figures = {
        "paired latency, ms": ("manifest_ms", "rebuilt_ms"),
        "its own latency, ms": ("manifest_own_ms", "rebuilt_own_ms"),
        "speed-up": ("manifest_speedup", "rebuilt_speedup"),
        "reference, ms": ("study_reference_ms", "rebuilt_reference_ms"),
    }
    rows = [
        (
            what,
            f"{rebuild[was]:.4f}",
            f"{rebuild[now]:.4f}",
            f"{100 * (rebuild[now] / rebuild[was] - 1):+.2f} %",
        )
        for what, (was, now) in figures.items()
    ]
    lines = ["## Rebuilt from the export, in a fresh process", ""]
    lines += [f"Trial {rebuild['trial']} {rebuild['label']}, built in {rebuild['build_seconds']:.1f} s.", ""]
    if "first_build_seconds" in rebuild:
        lines += [f"Without compiled kernels in the cache: {rebuild['first_build_seconds']:.1f} s.", ""]
    lines += _table(("", "manifest", "rebuilt", "difference"), rows)
    timers = rebuild["timers"]
    if "error" in timers:
        return [*lines, f"Independent loop: failed, {timers['error']}.", ""]
    ours, loop = f"{timers['ours_ms']:.4f} ms", f"{timers['loop_ms']:.4f} ms"
    off = f"{100 * timers['deviation']:+.2f} %"
    return [*lines, f"autoprec's stopwatch reads {ours}, an independent loop {loop}: {off}.", ""]
