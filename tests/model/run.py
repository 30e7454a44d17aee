#!/usr/bin/python3
"""Checks the protocol's model (flip.pml) with spin: the model itself whole, then with one rule left out at a time.

Each line of MODELS must be searched to its end without an error; each line of MUTANTS must break an assertion, or the
rule that it leaves out would not be needed, or the model would not see it. `run.py NAME...` runs only those;
`run.py --trail NAME` shows how a mutant goes wrong. FLIPD_CHECK_ALL=1 allows one fault more.
"""
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(HERE, "..", "..", "build", "model")
FLIPD = os.path.join(HERE, "..", "..", "build", "flipd")
DEPTH = 200000
ALL = os.environ.get("FLIPD_CHECK_ALL") == "1"
MEMORY_MB = 6000 if ALL else 2000
FAULTS = "-DFAULTS=%d" % (3 if ALL else 2)

# name: (what spin is told, whether runs that never end are looked for instead of broken assertions)
MODELS = {
    "guarded": (["-DGUARDED", FAULTS], False),
    "plain": ([FAULTS], False),
    "resume": (["-DGUARDED", "-DRESUME", "-DFAULTS=2"], False),
    "other": (["-DGUARDED", "-DOTHER", "-DFAULTS=2", "-DRESOLVES=0"], False),
    "guarded-ends": (["-DGUARDED", "-DRESUME", "-DFAULTS=1"], True),
    "plain-ends": (["-DFAULTS=1"], True),
}

# name: (the rule that is left out, as SPEC.md has it; what spin is told besides)
MUTANTS = {
    "ORPHANS_LIVE": ("first act of every recovery: kill this flip's sessions", []),
    "KILLED_NOT_SEEN": ("and see them gone; only then what the server shows is believed", []),
    "UNDO_OVER_PENDING": ("first act of every undo: KILL QUERY what the lock's session still runs", []),
    "NO_LIMIT": ("the server itself limits whatever changes it", []),
    "UNKNOWN_IS_NO": ("a result that did not arrive is unknown, asked, never assumed", []),
    "NO_PROVER": ("from coordinates until open is answered the fence is proven", []),
    "NO_LAST_PROOF": ("and once more right before anything that may open new", []),
    "POSITION_UNPROVEN": ("a position that moved withdraws the opening", []),
    "CLOSED_IS_UNWRITTEN": ("that new never took a write is proven by its own log", []),
    "HEARTBEAT_UNGUARDED": ("every heartbeat is guarded in its statement", []),
    "LOCK_LOST_IGNORED": ("the loss of a lock's session is a missing proof", ["-DOTHER"]),
    "OFF_THE_LOCK": ("the opening is sent on the lock's own session", ["-DOTHER"]),
    "POSITION_NOT_WAITED": ("new opens at the final position only", []),
    "KILL_AFTER_POSITION": ("the position is taken after the last victim is gone", []),
    "INTENT_AFTER_OPEN": ("intent durable before anything that may open new", []),
    "INTENT_NOT_DURABLE": ("the intent is on disk before what it permits", []),
    "REVOKED_AFTER_OPEN": ("revocation durable before old opens", []),
    "REVOKED_NOT_DURABLE": ("the revocation is on disk before what it permits", []),
    "REVOKED_UNPROVEN": ("revoked only after the proof that new never took a write", []),
    "OLD_UNSEEN": ("intent X F0: neither is opened", []),
    "WAY_BACK_LATE": ("the position for the way back is in the journal before the intent", []),
    "REVERSE_UNSEEN": ("old's position is read once more before it follows new", []),
    "WORD_STICKS": ("an operator's word ends when the side it speaks of answers", []),
    "REOPENED_FORGOTTEN": ("once old is open again its final position proves nothing", []),
    "SERVES_WITHOUT_TAIL": ("new that opened by itself is not taken for opened before it has old's final position", []),
}


class Result:
    """What pan said."""

    def __init__(self, text, seconds):
        self.text = text
        self.seconds = seconds
        self.errors = self.number(r"errors: (\d+)")
        self.states = self.number(r"^ *(\d+) states, stored")
        first = re.search(r"^pan:\d+: (.*)$", text, re.M)
        self.said = first.group(1) if first else ""

    def number(self, pattern):
        m = re.search(pattern, self.text, re.M)
        return int(m.group(1)) if m else -1

    def cut_short(self):
        """Why the search is not the whole of it, or None."""
        for bad in ("max search depth too small", "Search not completed", "out of memory", "hash array"):
            if bad in self.text:
                return bad
        return None if self.errors >= 0 and self.states > 0 else "no result"


def build(name, told, endless, optimise):
    """Makes pan in a directory of its own, from a copy of the model: spin reads a trail only beside it."""
    at = os.path.join(BUILD, name)
    shutil.rmtree(at, ignore_errors=True)
    os.makedirs(at)
    shutil.copy(os.path.join(HERE, "flip.pml"), at)
    subprocess.run(["spin", "-a", *told, "flip.pml"], cwd=at, check=True, stdout=subprocess.PIPE,
                   stderr=subprocess.STDOUT)
    kind = ["-DNP"] if endless else ["-DSAFETY"]
    subprocess.run(["gcc", optimise, "-w", *kind, "-DCOLLAPSE", "-DMEMLIM=%d" % MEMORY_MB, "-o", "pan", "pan.c"],
                   cwd=at, check=True)
    return at


def search(name, told, endless=False, small=False):
    """small: the search ends soon, at the first error; what it costs is the compiler and the table of states."""
    at = build(name, told, endless, "-O0" if small else "-O2")
    start = time.monotonic()
    command = ["./pan", "-m%d" % DEPTH, "-w%d" % (18 if small else 24)] + (["-l"] if endless else [])
    proc = subprocess.run(command, cwd=at, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return Result(proc.stdout, time.monotonic() - start)


def check_model(name):
    told, endless = MODELS[name]
    r = search(name, told, endless)
    why = r.cut_short()
    if r.errors > 0:
        why = r.said or "%d errors" % r.errors
    print("figure: model %-12s %9d states %6.1f s" % (name, r.states, r.seconds))
    if why:
        print("model %s: %s; see: %s --trail %s" % (name, why, os.path.basename(__file__), name))
        return False
    print("model %s: no error" % name)
    return True


def mutant_options(name):
    return ["-DGUARDED", "-DFAULTS=2", "-DMUTANT_" + name, *MUTANTS[name][1]]


def check_mutant(name):
    r = search(name, mutant_options(name), small=True)
    caught = r.errors > 0 and r.said.startswith("assertion violated")
    print("mutant %s: %s (without: %s)" % (name, "caught" if caught else "NOT CAUGHT " + r.said, MUTANTS[name][0]))
    return caught


def check_steps():
    """The rows and kinds that the model speaks of are those of the step table, in number and name."""
    if not os.path.exists(FLIPD):
        print("steps: not compared, there is no build/flipd")
        return None
    with open(os.path.join(HERE, "flip.pml"), encoding="utf-8") as f:
        ours = set(re.findall(r"\brow (\w+) (back|pivot|either|forward):", f.read()))
    text = subprocess.run([FLIPD, "--print-steps"], check=True, stdout=subprocess.PIPE, text=True).stdout
    theirs = {(w[0], w[2]) for w in (line.split() for line in text.splitlines()[1:])}
    for row in sorted(ours ^ theirs):
        print("steps: row %s %s is only in %s" % (*row, "the model" if row in ours else "the step table"))
    return ours == theirs


def show_trail(name):
    told, endless = MODELS[name] if name in MODELS else (mutant_options(name), False)
    r = search(name, told, endless)
    print(r.said)
    return subprocess.run(["spin", "-t", "-p", "-g", *told, "flip.pml"], cwd=os.path.join(BUILD, name),
                          check=False).returncode


def main():
    args = sys.argv[1:]
    if len(args) == 2 and args[0] == "--trail":
        return show_trail(args[1])
    unknown = [a for a in args if a not in MODELS and a not in MUTANTS]
    if unknown:
        print("no such model or mutant: %s" % " ".join(unknown))
        return 2
    passed = failed = 0
    same = None if args else check_steps()
    if same is not None:
        passed += same
        failed += not same
    for names, check in ((MODELS, check_model), (MUTANTS, check_mutant)):
        for name in names:
            if args and name not in args:
                continue
            ok = check(name)
            passed += ok
            failed += not ok
            sys.stdout.flush()
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
