#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds and runs the fuzzers (docs/HACKING.md, "Fuzzers").

In:  names of fuzzers (none: all), --seconds for each; tests/fuzz/kept, and seeds that make_seeds.py makes.
Out: for each fuzzer, first all that was kept and the seeds once, then fuzzing; as many at a time as there are processors,
     two at most. A crash, a leak, a time-out or too much memory fails it, and the line that repeats it is printed. --tap
     names a file for the results, two lines a fuzzer. The exit status is 0 only when nothing was found.
Without --keep-corpus every run begins with the seeds; with it, what a run has found worth keeping is where the next begins.
"""
import argparse
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build/fuzz"
KEPT = ROOT / "tests/fuzz/kept"
# Longest input, in bytes; that of most seeds and more.
LENGTHS = {"wire-stream": 4096, "wire-packet": 4096, "wire-bitmap": 4096, "activity-log": 16384, "superblock": 8192,
           "dump-text": 4096, "event-sequence": 1500}
SETUP = ["-Dfuzz=true", "-Dtests=disabled", "-Dtools=disabled", "-Db_sanitize=address,undefined", "-Db_lundef=false",
         "-Doptimization=1", "-Ddebug=true", "-Dcpp_args=-fsanitize=fuzzer-no-link"]
SECONDS_OF_ONE_INPUT = 60
# Entropic scheduling costs more than these fuzzers' inputs do.
OPTIONS = [f"-timeout={SECONDS_OF_ONE_INPUT}", "-rss_limit_mb=2048"]
FUZZING = ["-entropic=0", "-len_control=0", "-print_final_stats=1"]
ENVIRONMENT = {"UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}


def run_quietly(command, log, **kwargs):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, check=False,
                          stdin=subprocess.DEVNULL, **kwargs)
    log.write_bytes(done.stdout)
    if done.returncode != 0:
        sys.exit(f"{done.stdout.decode(errors='replace')}\ntests/fuzz/run.py: {command[0]} failed")


def build():
    BUILD.mkdir(parents=True, exist_ok=True)
    clang = {**os.environ, "CC": "clang", "CXX": "clang++"}
    if not (BUILD / "build.ninja").is_file():
        run_quietly(["meson", "setup", str(BUILD), *SETUP], BUILD / "setup.log", env=clang)
    run_quietly(["ninja", "-C", str(BUILD)], BUILD / "build.log", env=clang)
    run_quietly([sys.executable, str(ROOT / "tests/fuzz/make_seeds.py"), str(BUILD / "seeds")], BUILD / "seeds.log")


class Fuzzer:
    def __init__(self, name):
        self.name = name
        self.program = BUILD / "tests/fuzz" / f"fuzz-{name}"
        self.finds = BUILD / "finds" / name
        self.seeds = BUILD / "seeds" / name
        self.kept = KEPT / name
        self.report = []
        self.results = []

    def files(self):
        folders = [folder for folder in (self.kept, self.seeds) if folder.is_dir()]
        return [str(path) for folder in folders for path in sorted(folder.iterdir())]

    def run(self, log, arguments):
        """True if nothing was found. The output goes to a log; of a find, its end to the report."""
        self.finds.mkdir(parents=True, exist_ok=True)
        before = set(self.finds.iterdir())
        command = [str(self.program), *OPTIONS, f"-artifact_prefix={self.finds}/", *arguments]
        with (BUILD / f"{log}-{self.name}.log").open("w+", encoding="utf-8", errors="replace") as output:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False,
                                  env={**os.environ, **ENVIRONMENT})
            output.seek(0)
            lines = output.read().splitlines()
        if done.returncode != 0:
            self.tell(lines, sorted(set(self.finds.iterdir()) - before))
        self.report += [f"{self.name}: {line}" for line in lines if line.startswith("stat::") or line.startswith("Done ")]
        return done.returncode == 0

    def tell(self, lines, found):
        first = next((i for i, line in enumerate(lines) if "ERROR" in line or "assertion failed" in line or "rest:" in line
                      or "runtime error" in line), max(0, len(lines) - 40))
        self.report += lines[first:first + 60]
        # One of the files that ran is its own find.
        running = [line.split("Running: ", 1)[1] for line in lines if line.startswith("Running: ")]
        for path in found or running[-1:]:
            self.report.append(f"to repeat: UBSAN_OPTIONS={ENVIRONMENT['UBSAN_OPTIONS']} "
                               f"{self.program.relative_to(ROOT)} {os.path.relpath(path, ROOT)}")

    def work(self, seconds, keep_corpus):
        self.results.append((f"{self.name}: kept inputs and seeds", self.run("kept", self.files())))
        if seconds > 0:
            corpus = BUILD / ("corpus" if keep_corpus else "new") / self.name
            if not keep_corpus:
                shutil.rmtree(corpus, ignore_errors=True)
            corpus.mkdir(parents=True, exist_ok=True)
            folders = [str(folder) for folder in (corpus, self.kept, self.seeds) if folder.is_dir()]
            length = LENGTHS[self.name]
            self.results.append((f"{self.name}: fuzzing", self.run(
                "fuzz", [*FUZZING, f"-max_total_time={seconds}", f"-max_len={length}", *folders])))
        return self


def main():
    parser = argparse.ArgumentParser(description="Builds and runs the fuzzers.")
    parser.add_argument("names", nargs="*", metavar="FUZZER", help=f"{', '.join(LENGTHS)}; none: all")
    parser.add_argument("--seconds", type=int, default=20, help="of fuzzing for each; 0: only what was kept and the seeds")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="fuzzers at a time")
    parser.add_argument("--keep-corpus", action="store_true", help="go on with build/fuzz/corpus")
    parser.add_argument("--tap", type=Path, help="file for the results")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(LENGTHS))
    if unknown:
        parser.error(f"there is no fuzzer {', '.join(unknown)}")
    build()
    fuzzers = [Fuzzer(name) for name in options.names or LENGTHS]
    # The slowest first, so that none is left alone at the end.
    fuzzers.sort(key=lambda fuzzer: fuzzer.name != "event-sequence")
    results = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for fuzzer in pool.map(lambda fuzzer: fuzzer.work(options.seconds, options.keep_corpus), fuzzers):
            print("\n".join(fuzzer.report))
            for name, ok in fuzzer.results:
                print(f"{'ok' if ok else 'not ok'} - {name}", flush=True)
            results += fuzzer.results
    if options.tap:
        options.tap.write_text("".join(f"{'ok' if ok else 'not ok'} - {name}\n" for name, ok in results), encoding="utf-8")
    return 0 if results and all(ok for _name, ok in results) else 1


if __name__ == "__main__":
    sys.exit(main())
