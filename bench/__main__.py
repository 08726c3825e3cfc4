"""Measures, and prints one table: what, ours, the peer, their ratio, the goal, and whether it is reached.

    python -m bench [--only NAME]... [--quick | --full] [--json FILE] [--page docs/benchmarks.md]

Ratios of one run mean something on any machine, times only on this one. The whole run takes under ten minutes on two
cores, `--quick` about one; `--full` more than ten.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from bench.subjects import SUBJECTS, measured
from bench.table import Effort, Row, as_json, between_marks, printed


def machine() -> dict[str, object]:
    """Return what the figures depend on: the processor, how many, Python, the date, and how busy it was before."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",  # noqa: TID251 - a measurement is of the machine's own time
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    subjects = "\n".join(f"{name}: {what}" for name, what in SUBJECTS.items())
    parser.add_argument(
        "--only", action="append", choices=SUBJECTS, metavar="NAME", help=f"may be repeated:\n{subjects}"
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that all of it runs, proves little")
    parser.add_argument("--full", action="store_true", help="the long runs as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the same rows there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table between the two marks of this page")
    chosen = parser.parse_args()
    effort = Effort(quick=chosen.quick, full=chosen.full)
    about, rows, faults = machine(), list[Row](), 0
    for subject in chosen.only or SUBJECTS:
        # A process of its own: imports, threads and caches of one subject are no part of the next.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            try:
                found, took = process.submit(measured, subject, effort).result()
            except Exception as fault:  # noqa: BLE001 - one peer that breaks must not take the others' figures along
                faults += 1
                rows.append(Row(what=subject, ours="not measured", note=f"{type(fault).__name__}: {fault}"))
                print(f"{subject}: not measured: {fault!r}", file=sys.stderr)
                continue
        rows += found
        print(f"{subject}: {took:.0f} s", file=sys.stderr)
    about["load_after"] = round(os.getloadavg()[0], 2)
    told = " · ".join(f"{name.replace('_', ' ')} {value}" for name, value in about.items())
    print(told)
    print(printed(rows))
    if chosen.json is not None:
        chosen.json.write_text(as_json(rows, about))
    if chosen.page is not None:
        chosen.page.write_text(between_marks(chosen.page.read_text(), f"{told}\n\n{printed(rows)}"))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
