"""Soak test: does the memory grow over a thousand files, and are damaged files reported?

    python eval/scripts/soak.py [--files 1000] [--jobs 2] [--preset fast] [--out eval/results/soak.md]

Writes files of 1 to 4 s into a temporary folder, one in a hundred of them damaged, and enhances them with one
command. Measures the resident memory of the command and of its workers after every tenth of the files (shared
memory counts in each process). Then runs the same command again, which must process the damaged files only.
Takes five minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from corpus import write_corpus


def family(pid: int) -> list[int]:
    """A process and its descendants (Linux)."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += family(int(child))
    return found


def resident(pid: int) -> float:
    """Resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Print the table, and write it to --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--jobs", default="2")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in", Path(folder) / "out"
        write_corpus(source, options.files, 1.0, 4.0)
        for number in range(0, options.files, 100):
            (source / f"{number:05d}.wav").write_bytes(b"RIFF and nothing of the kind")
        command = [sys.executable, "-m", "vae_se", "enhance", str(source), "-o", str(target), "--json", "-q"]
        command += ["--preset", options.preset, "--jobs", options.jobs, "--device", "cpu"]
        started = time.perf_counter()
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert run.stdout is not None
        memory, counts = [], {"done": 0, "failed": 0}
        for rows, line in enumerate(run.stdout, 1):
            counts[json.loads(line)["status"]] += 1
            if rows % max(1, options.files // 10) == 0 and run.poll() is None:
                found = [resident(pid) for pid in family(run.pid)]
                memory.append((rows, found[0], found[1:]))
                print(rows, [round(value) for value in found], file=sys.stderr, flush=True)
        code, wall = run.wait(), time.perf_counter() - started
        left = len(list(target.glob(".*")))
        again = subprocess.run(command, capture_output=True, text=True)
        second = [json.loads(line)["status"] for line in again.stdout.splitlines()]
    lines = [
        "# A thousand files in one go",
        "",
        f"    python eval/scripts/soak.py --files {options.files} --jobs {options.jobs} "
        f"--preset {options.preset}",
        "",
        f"{options.files} files of 1 to 4 s, every hundredth broken: {counts['done']} done, {counts['failed']} "
        f"failed, exit code {code}, {left} temporary files left, {wall:.0f} s. The same command again: "
        f"{second.count('skipped')} skipped, {second.count('failed')} failed, {second.count('done')} done.",
        "",
        "| files | the command, MiB | its workers, MiB |",
        "|---|---|---|",
    ]
    lines += [f"| {n} | {own:.0f} | {', '.join(f'{w:.0f}' for w in others)} |" for n, own, others in memory]
    print("\n".join(lines))
    if options.out is not None:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
