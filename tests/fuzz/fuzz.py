"""Fuzzing of the native core: builds the targets, runs them, tells what came of it.

Called by `./build.sh fuzz`, which says how. Everything that is made stays under the target directory; nothing of the
corpora in tests/fuzz/corpus changes but by `--keep`.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = TARGET / "fuzz"
TOOLS = ROOT / "target" / "tools"
TOOLCHAIN = os.environ.get("SPILLWAY_NIGHTLY", "nightly")
TRIPLE = "x86_64-unknown-linux-gnu" if os.uname().machine == "x86_64" else "aarch64-unknown-linux-gnu"

# Longer inputs find no more and cost much; each target's holds its seeds.
LENGTHS = {"json": 512, "headers": 512, "moderation": 512, "records": 700, "tokens": 400, "guard": 400, "repair": 512,
           "policy": 3072, "exchange": 2048}
LENGTH = 1280
# No input takes a thousandth of this, on however busy a machine; what does isn't linear.
TIMEOUT = 60
RSS_MB = 1024

PROGRESS = re.compile(r"^#(\d+)\t.*cov: (\d+) ft: (\d+) corp: (\d+)/(\S+).*exec/s: (\d+)")
STAT = re.compile(r"^stat::(\w+):\s+(\d+)")
TTY = sys.stdout.isatty()


# ── Tools ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def need_tools():
    """Nightly Rust and cargo-fuzz: what is missing is installed."""
    has = subprocess.run(["rustup", "run", TOOLCHAIN, "rustc", "--version"], capture_output=True)
    if has.returncode:
        step("nightly Rust", ["rustup", "toolchain", "install", TOOLCHAIN, "--profile", "minimal"])
    if not (TOOLS / "bin" / "cargo-fuzz").exists():
        step("cargo-fuzz", ["cargo", "install", "--root", str(TOOLS), "cargo-fuzz", "--locked"])


def llvm(tool):
    """The path of one of LLVM's tools that belongs to the compiler of the repository."""
    root = subprocess.run(["rustc", "--print", "sysroot"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = Path(root.stdout.strip()) / "lib/rustlib" / TRIPLE / "bin" / tool
    if not found.exists():
        step("LLVM's tools", ["rustup", "component", "add", "llvm-tools"], cwd=ROOT)
    return str(found)


def step(label, command, **more):
    """Runs a command with its output in a file; ends everything when it fails."""
    log = WORK / "logs" / (re.sub(r"\W+", "-", label) + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"· {label} …", flush=True)
    began = time.time()
    with log.open("w") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, **more)
    if done.returncode:
        print("\n".join(log.read_text(errors="replace").splitlines()[-40:]))
        sys.exit(f"✗ {label}: {log}")
    print(f"✓ {label} ({time.time() - began:.0f} s)", flush=True)


def build(names):
    """Builds the programs of these targets; answers where they are."""
    env = dict(os.environ, PATH=f"{TOOLS / 'bin'}:{os.environ['PATH']}")
    env.pop("CARGO_TARGET_DIR", None)
    out = WORK / "build"
    for name in names:
        step(f"build {name}", ["cargo", f"+{TOOLCHAIN}", "fuzz", "build", "--fuzz-dir", ".", "--sanitizer", "none",
                               "--target-dir", str(out), name], cwd=HERE / "libfuzzer", env=env)
    return out / TRIPLE / "release"


def targets():
    """Names of the targets, in the order of the library's table; with the files that each is about."""
    text = (HERE / "src/lib.rs").read_text()
    table = text[text.index("pub const TARGETS"):text.index("const fn target")]
    found = re.findall(r'target\(\s*"(\w+)",\s*\w+,\s*&\[(.*?)\]', table, re.S)
    return {name: re.findall(r'"([^"]+)"', about) for name, about in found}


def write_seeds(program=None):
    """Writes the seeds of all targets, by the stable runner; answers the directory."""
    folder = WORK / "seeds"
    shutil.rmtree(folder, ignore_errors=True)
    command = [program] if program else ["cargo", "run", "--quiet", "-p", "spillway-fuzz", "--"]
    step("seeds", [*command, "seeds", str(folder)], cwd=ROOT, env=dict(os.environ, LLVM_PROFILE_FILE="/dev/null"))
    return folder


# ── Runs ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Run:
    """One target on its way: what libFuzzer last said of it."""

    def __init__(self, name, programs, corpora, limits):
        self.name = name
        self.executions = self.coverage = self.corpus = self.speed = self.seconds = 0
        self.artifact = None
        first, *others = corpora
        first.mkdir(parents=True, exist_ok=True)
        self.artifacts = WORK / "artifacts" / name
        self.artifacts.mkdir(parents=True, exist_ok=True)
        self.log = WORK / "logs" / f"run-{name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        flags = [f"-max_len={LENGTHS.get(name, LENGTH)}", f"-timeout={TIMEOUT}", f"-rss_limit_mb={RSS_MB}",
                 "-print_final_stats=1", f"-artifact_prefix={self.artifacts}/", *limits]
        there = [str(other) for other in others if other.is_dir()]
        self.command = [str(programs / name), *flags, str(first), *there]

    def go(self, board):
        """Runs it to its end; whether nothing was found."""
        began = time.time()
        with self.log.open("w") as log, board.child(self, self.command) as child:
            for line in child.stderr:
                log.write(line)
                self.read(line)
                self.seconds = time.time() - began
                board.show()
            code = child.wait()
        self.seconds = time.time() - began
        board.tell(self.line() + ("" if code == 0 else "  ✗"))
        return code == 0

    def read(self, line):
        if progress := PROGRESS.match(line):
            self.executions, self.coverage, _, self.corpus, _, self.speed = (
                int(n) if n.isdigit() else n for n in progress.groups())
        elif stat := STAT.match(line):
            if stat[1] == "number_of_executed_units":
                self.executions = int(stat[2])
        elif "Test unit written to" in line:
            self.artifact = line.split("Test unit written to ")[1].strip()

    def line(self):
        rate = self.executions / max(self.seconds, 0.001)
        return (f"{self.name:17} {self.executions:>11,} executions {rate:>9,.0f}/s  edges {self.coverage:>6}"
                f"  corpus {self.corpus:>5}  {self.seconds:>6.0f} s")


class Board:
    """What is shown of the targets that run side by side, and the end of them all when the user ends it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.running, self.shown, self.ended = {}, 0, False

    @contextlib.contextmanager
    def child(self, run, command):
        with self.lock:
            if self.ended:
                raise KeyboardInterrupt
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                     errors="replace", cwd=WORK)
            self.running[run] = child
        try:
            yield child
        finally:
            with self.lock:
                self.running.pop(run)

    def show(self):
        """One line that changes in place, on a terminal."""
        with self.lock:
            if TTY and time.time() > self.shown + 0.5:
                self.shown = time.time()
                line = "  ·  ".join(f"{run.name} {run.executions:,} in {run.seconds:.0f} s" for run in self.running)
                print(f"\r\x1b[K{line[:shutil.get_terminal_size().columns - 1]}", end="", flush=True)

    def tell(self, line):
        with self.lock:
            print(("\r\x1b[K" if TTY else "") + line, flush=True)

    def end(self):
        with self.lock:
            self.ended = True
            for child in self.running.values():
                child.send_signal(signal.SIGINT)


def fuzz(names, limits, jobs):
    """Runs the targets, so many at a time; tells the sum of it. Answers the exit code."""
    need_tools()
    programs, seeds = build(names), write_seeds()
    runs = [Run(name, programs, [WORK / "corpus" / name, HERE / "corpus" / name, seeds / name], limits) for name in names]
    board = Board()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            passed = list(pool.map(lambda run: run.go(board), runs))
        except KeyboardInterrupt:
            board.end()
            raise
    failed = [run for run, fine in zip(runs, passed) if not fine]
    table(runs, failed)
    return 1 if failed else 0


def table(runs, failed):
    print("\n| target | executions | seconds | per second | edges | corpus | crashes |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for run in runs:
        rate = run.executions / max(run.seconds, 0.001)
        print(f"| {run.name} | {run.executions:,} | {run.seconds:.0f} | {rate:,.0f} | {run.coverage} | {run.corpus} "
              f"| {int(run in failed)} |")
    for run in failed:
        print(f"\n✗ {run.name}: {why(run.log)}")
        if run.artifact:
            print(f"  the input: {run.artifact}\n  replay it: cargo run -p spillway-fuzz -- {run.name} {run.artifact}")
        print(f"  libFuzzer's own words: {run.log}")


def why(log):
    """The panic's own words, or libFuzzer's."""
    lines = log.read_text(errors="replace").splitlines()
    for at, line in enumerate(lines):
        if "panicked at" in line:
            return " ".join(lines[at:at + 2])[:400]
    return next((line for line in lines if "ERROR" in line), "it ended")[:400]


# ── Coverage ───────────────────────────────────────────────────────────────────────────────────────────────────────


def coverage(names):
    """Lines of the files that each target is about which its corpora reach, by the compiler's own counters."""
    out = WORK / "coverage"
    out.mkdir(parents=True, exist_ok=True)
    # Of our own crates only: dependencies are those of any other build.
    wrapper = out / "rustc-with-counters"
    wrapper.write_text('#!/bin/sh\nexec "$@" -C instrument-coverage\n')
    wrapper.chmod(0o755)
    env = dict(os.environ, RUSTC_WORKSPACE_WRAPPER=str(wrapper), LLVM_PROFILE_FILE=str(out / "build-%p.profraw"))
    step("build with counters", ["cargo", "build", "-p", "spillway-fuzz"], cwd=ROOT, env=env)
    program = out / "spillway-fuzz"
    shutil.copy2(TARGET / "debug" / "spillway-fuzz", program)
    for profile in out.glob("build-*.profraw"):
        profile.unlink()
    seeds = write_seeds(program)
    print("\n| target | lines reached | of | share |")
    print("|---|---:|---:|---:|")
    for name in names:
        raw, data = out / f"{name}.profraw", out / f"{name}.profdata"
        folders = [WORK / "corpus" / name, HERE / "corpus" / name, seeds / name]
        there = [str(folder) for folder in folders if folder.is_dir()]
        subprocess.run([program, name, *there], check=True, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, LLVM_PROFILE_FILE=str(raw)))
        subprocess.run([llvm("llvm-profdata"), "merge", "-sparse", raw, "-o", data], check=True)
        told = subprocess.run([llvm("llvm-cov"), "export", "-summary-only", f"-instr-profile={data}", program],
                              check=True, capture_output=True, text=True).stdout
        files, reached, lines = targets()[name], 0, 0
        rows = []
        for file in json.loads(told)["data"][0]["files"]:
            path = file["filename"].removeprefix(f"{ROOT}/src/")
            if any(path.startswith(about) for about in files):
                count = file["summary"]["lines"]
                reached, lines = reached + count["covered"], lines + count["count"]
                rows.append((count["count"] - count["covered"], path, count["covered"], count["count"]))
        print(f"| {name} | {reached} | {lines} | {100 * reached / max(lines, 1):.1f} % |", flush=True)
        with (out / f"{name}.txt").open("w") as file:
            file.writelines(f"{missed:5} missed  {covered}/{all}  {path}\n" for missed, path, covered, all in sorted(rows)[::-1])
    print(f"\nBy file: {out}/TARGET.txt")
    return 0


# ── Bugs put in on purpose ─────────────────────────────────────────────────────────────────────────────────────────

BOUND = 200_000


def seeded():
    """Puts the bugs of seeded/ into a copy of the tree and runs mutated seeds of each one's target until it is found.

    Without coverage to guide it, on stable Rust, all bugs in one build: the numbers are the same in every run. What a target
    found is told by its own words.
    """
    work, rows = WORK / "seeded", []
    patches = sorted((HERE / "seeded").glob("*.patch"))
    program = build_with(patches, work)
    for patch in patches:
        name = re.search(r"^Target: (\w+)$", patch.read_text(), re.M)[1]
        began = time.time()
        done = subprocess.run([program, "mutate", name, str(BOUND)], cwd=work, capture_output=True, text=True,
                              env=dict(os.environ, RUST_BACKTRACE="0"))
        after = re.search(r"after (\d+) executions", done.stderr)
        rows.append((patch.stem, name, after and int(after[1]), time.time() - began, done.stderr))
    print("\n| bug | target | found after | seconds | by |")
    print("|---|---|---:|---:|---|")
    for bug, name, after, seconds, told in rows:
        found = f"{after:,} executions" if after else f"**not in {BOUND:,}**"
        lines = [line.strip() for line in told.splitlines() if line.strip()]
        by = next((" ".join(lines[at + 1:at + 2]) for at, line in enumerate(lines) if "panicked at" in line), "")
        print(f"| {bug} | {name} | {found} | {seconds:.1f} | {by[:100].replace('|', '/')} |")
    return 1 if any(after is None for _, _, after, _, _ in rows) else 0


def build_with(patches, work):
    """Builds the stable runner of a copy of the tree with these patches; answers its path."""
    copy, program = work / "tree", work / "spillway-fuzz"
    shutil.rmtree(copy, ignore_errors=True)
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for file in filter(None, files.split("\0")):
        if (ROOT / file).is_file():
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, copy / file)
    # Not as a part of the repository around it.
    outside = dict(os.environ, GIT_CEILING_DIRECTORIES=str(copy.parent))
    for patch in patches:
        subprocess.run(["git", "apply", str(patch)], cwd=copy, env=outside, check=True)
    env = dict(os.environ, CARGO_TARGET_DIR=str(TARGET))
    step("build with bugs", ["cargo", "build", "-p", "spillway-fuzz"], cwd=copy, env=env)
    shutil.copy2(TARGET / "debug" / "spillway-fuzz", program)
    return program


# ── Corpora ────────────────────────────────────────────────────────────────────────────────────────────────────────

KEPT = 16_000  # Bytes of each corpus that is committed, and files.
FILES = 60


def keep(names):
    """Takes into tests/fuzz/corpus what of the found inputs, minimised, covers most: the smallest first."""
    need_tools()
    programs, seeds = build(names), write_seeds()
    for name in names:
        small = WORK / "small" / name
        shutil.rmtree(small, ignore_errors=True)
        small.mkdir(parents=True)
        folders = [WORK / "corpus" / name, HERE / "corpus" / name, seeds / name]
        there = [str(folder) for folder in folders if folder.is_dir()]
        # What `cargo fuzz cmin` does, of several directories; the cover is a small one.
        step(f"minimise {name}", [str(programs / name), "-set_cover_merge=1", f"-max_len={LENGTHS.get(name, LENGTH)}",
                                  str(small), *there], cwd=WORK)
        files = sorted(small.iterdir(), key=lambda file: (file.stat().st_size, file.name))
        commit(name, files)
        print(f"  {name}: {len(list((HERE / 'corpus' / name).iterdir()))} of {len(files)} files")
    return 0


def commit(name, files):
    """Makes the committed corpus of these files, which come by size: some of every size, within its bounds."""
    folder, size = HERE / "corpus" / name, 0
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in files[::max(1, -(-len(files) // FILES))]:
        size += file.stat().st_size
        if size > KEPT:
            break
        shutil.copy2(file, folder / file.name[:16])


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────────────────


def main():
    parser = argparse.ArgumentParser(prog="./build.sh fuzz", description="Fuzzes the native core. Needs nightly Rust and "
                                     "cargo-fuzz; what is missing is installed.")
    parser.add_argument("words", nargs="*", metavar="SECONDS | target",
                        help="how long each target runs, and which; all of them unless named")
    parser.add_argument("--runs", type=int, metavar="N", help="how many executions each target runs, whatever the time")
    parser.add_argument("--coverage", action="store_true", help="lines of the core that each target's corpora reach")
    parser.add_argument("--seeded", action="store_true", help="bugs put in on purpose: after how many mutated seeds each is found")
    parser.add_argument("--keep", action="store_true", help="takes the best of what was found into tests/fuzz/corpus")
    parser.add_argument("--jobs", type=int, metavar="N", default=os.cpu_count(),
                        help="how many targets run at a time; the machine's cores unless told")
    arguments = parser.parse_args()
    seconds = sum(int(word) for word in arguments.words if word.isdigit())
    known = targets()
    names = [word for word in arguments.words if not word.isdigit()] or list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(known)}")
    if arguments.seeded:
        return seeded()
    if arguments.coverage:
        return coverage(names)
    if arguments.keep:
        return keep(names)
    if arguments.runs:
        return fuzz(names, [f"-runs={arguments.runs}"], arguments.jobs)
    if seconds:
        return fuzz(names, [f"-max_total_time={seconds}"], arguments.jobs)
    parser.print_help()
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
