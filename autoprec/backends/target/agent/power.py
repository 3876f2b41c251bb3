"""Power mode, clocks and temperature of a target's GPU, as the machine's own commands report them.

`nvpmodel` and `jetson_clocks` are a Jetson's, `nvidia-smi` is there for other GPUs. What a machine does not
have, or does not tell this user, is left out.
"""

from __future__ import annotations

import re
import subprocess
from typing import Any, Dict, Sequence

_FREQUENCIES = """
for folder in /sys/class/devfreq/*; do
    case "$folder" in *gpu|*ga10b|*gv11b|*gp10b)
        echo "GPU MinFreq=$(cat "$folder/min_freq") MaxFreq=$(cat "$folder/max_freq")" \\
            "CurrentFreq=$(cat "$folder/cur_freq")" ;;
    esac
done
"""
COMMANDS = (
    ("nvpmodel", "-q"),
    ("sh", "-c", _FREQUENCIES),
    ("jetson_clocks", "--show"),
    (
        "nvidia-smi",
        "--query-gpu=clocks.sm,clocks.mem,power.draw,temperature.gpu",
        "--format=csv,noheader,nounits",
    ),
)
_MODE = re.compile(r"NV Power Mode: *([\w .-]+)")
_CLOCKS = re.compile(r"^ *(GPU|EMC) +MinFreq=(\d+) +MaxFreq=(\d+) +CurrentFreq=(\d+)", re.MULTILINE)
_SECONDS = 5.0


def power_here() -> Dict[str, Any]:
    """The readings that this machine reports, by the names of autoprec's clock readings."""
    told = []
    for command in COMMANDS:
        try:
            done = subprocess.run(  # noqa: S603 - fixed words
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_SECONDS,
                check=False,
            )
            told.append(done.stdout.decode(errors="replace"))
        except (OSError, subprocess.SubprocessError):  # noqa: PERF203 - four commands
            told.append("")
    return read_power(told)


def read_power(told: Sequence[str]) -> Dict[str, Any]:
    """The readings in the output of `COMMANDS`, by the names of autoprec's clock readings."""
    mode, readings = _MODE.search(told[0]), {}  # type: Any, Dict[str, Any]
    if mode:
        readings["power_mode"] = mode.group(1).strip()[:40]
    for part, low, high, now in _CLOCKS.findall(told[1] + told[2]):
        readings["sm_mhz" if part == "GPU" else "memory_mhz"] = int(now) / 1e6
        if part == "GPU":
            readings["clocks_locked"] = low == high
    # In the order of the query above; `[N/A]` of a reading that a GPU lacks is left out.
    names = ("sm_mhz", "memory_mhz", "power_watts", "temperature_celsius")
    first = told[3].strip().split("\n")[0]
    for name, value in zip(names, first.split(",")):
        if re.match(r"^ *\d+(\.\d+)? *$", value):
            readings[name] = float(value)
    return readings
