"""Mutation testing: small mistakes are made in the code, one at a time; a test has to fail for each.

    python -m benchmarks.mutation [--sample 100] [--seed 1] [--only work/] [--minutes 120]

To be run with an interpreter that has cosmic-ray (`make mutants`); the tests are run by that of `.venv`, in a
copy of the project below `.mutants`: those of the mutant's module, and if they notice nothing, all that
`make test` runs. A run can be broken off: the same one goes on where it stopped, as long as code and tests
stay the same. What survives is printed with its difference. Mutants that change what no test could see
(equivalent mutants) are listed with the reason in `equivalent.json`, and do not count.
"""

import argparse
import difflib
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from benchmarks import documents
from benchmarks.mutation.operators import DropArgument, DropStatement, SwapEnds

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".mutants"
PYTHON = ROOT / ".venv" / "bin" / "python"
COMMAND = "mutants"
ALL_TESTS = ("-m", "not slow", "--numprocesses", "2")
ALL_TESTS_SECONDS = 1800
EQUIVALENT = Path(__file__).with_name("equivalent.json")
_MOST = 100
"""The largest number that is changed by one; one more or less of a larger bound is an equivalent mutant."""
_LIFECYCLE = (
    "lifecycle_results",
    "lifecycle",
    "lifecycle_rules",
    "schedule",
    "full_redis",
    "store",
    "retry",
)
_STORE = (
    "schedule",
    "store",
    "store_awaiting",
    "store_tombstones",
    "full_redis",
    "store_contention",
    "store_cluster",
    "sweep",
)
_PROCESS = (
    "process",
    "process_races",
    "processing_observed",
    "refusals",
    "stand_alone",
    "two_prefixes",
    "api",
)
_REPAIR = (
    "audit",
    "audit_failed",
    "rebuild",
    "rebuild_records",
    "stand_alone",
    "sizes_stored",
    "recovery",
    "refusals",
    "focus",
)
SUBJECTS: Mapping[str, Sequence[str]] = {
    "records/lifecycle.py": (*_LIFECYCLE, "sweep", "audit", "process"),
    "records/store.py": (*_STORE, "sweep", "audit", "rebuild_records", "retry"),
    "records/codec.py": ("codec", "codec_metadata", "store_releases", "rebuild_records", "stand_alone"),
    "work/upload.py": ("idempotency", "presigned", "api", "api_races", "owners", "focus"),
    "work/download.py": ("download", "two_expiries", "api_races"),
    "work/process.py": (*_PROCESS, "two_prefixes", "api", "rebuild_records", "idempotency"),
    "work/remove.py": ("process_races", "sweep", "audit", "stand_alone", "two_prefixes", "api_races"),
    "work/retry.py": ("retry", "mark_failed", "sweep"),
    "work/redrive.py": ("redrive", "retry"),
    "work/sweep.py": ("sweep", "retry", "expiry", "stand_alone", "recovery", "processing_observed"),
    "work/repair.py": (*_REPAIR, "two_prefixes", "schedule", "idempotency"),
    "work/contradiction.py": ("audit", "audit_failed", "download", "rebuild", "recovery"),
    "work/objects_to_records.py": ("rebuild_records", "rebuild", "process", "audit", "stand_alone"),
    "work/audit.py": ("audit", "recovery", "partitions"),
    "work/rebuild.py": ("rebuild", "recovery"),
    "work/recover.py": ("recovery", "recovery_walks"),
    "work/heartbeat.py": ("recovery",),
    "work/walk.py": ("audit", "rebuild", "recovery"),
    "auth/tokens.py": ("tokens", "tokens_keys", "owners"),
    "auth/fetch.py": ("tokens_keys",),
    "imaging/limits.py": ("imaging_limits", "imaging_heif_limits", "imaging_rare_limits"),
}
"""Modules below chalicelib, and the tests of each: those that find most first."""


@dataclass(frozen=True)
class Mutant:
    """One mistake: which operator makes it where. `code` is the hash of its module and of its tests."""

    module: str
    code: str
    operator: str
    occurrence: int
    line: int

    @property
    def path(self) -> Path:
        """The module's path below the project."""
        return Path("chalicelib") / self.module


def test_files(module: str) -> list[str]:
    """Paths of the tests of a module, below the project."""
    return [f"tests/test_{name}.py" for name in SUBJECTS[module]]


def operators() -> dict[str, Any]:
    """All operators by name: cosmic-ray's that take no arguments, and our own."""
    own = {one.__name__: one() for one in (SwapEnds, DropArgument, DropStatement)}
    found = {name: plugins.get_operator(name) for name in plugins.operator_names()}
    return own | {
        name: make()
        for name, make in found.items()
        # `|` stands in annotations: what is made of those says nothing about the tests.
        if not make.arguments() and "BitOr" not in name
    }


def mutants(chosen: Mapping[str, Any]) -> Iterator[list[Mutant]]:
    """Every place of every module where something can be changed, with the ways to do it there."""
    for module in SUBJECTS:
        source = (ROOT / "chalicelib" / module).read_text()
        read = "".join([source, *((ROOT / name).read_text() for name in test_files(module))])
        tree, code = get_ast(source), hashlib.sha256(read.encode()).hexdigest()[:12]
        places: dict[Any, list[Mutant]] = {}
        for name, operator in chosen.items():
            positions = [(node, at) for node in ast_nodes(tree) for at in operator.mutation_positions(node)]
            for occurrence, (node, at) in enumerate(positions):
                if _changes_nothing(node):
                    continue
                place = (at, name.partition("_")[0])
                places.setdefault(place, []).append(Mutant(module, code, name, occurrence, at[0][0]))
        yield from places.values()


def _changes_nothing(node: Any) -> bool:
    """Tell whether all mutants of a place are equivalent."""
    if node.type == "number" and float(node.value) > _MOST:
        return True
    # Such as the slots of a dataclass.
    if node.search_ancestor("decorator") is not None:
        return True
    named = node.search_ancestor("argument")
    # What `zip` is to check holds anyway.
    return named is not None and named.children[0].type == "name" and named.children[0].value == "strict"


def sample(chosen: Mapping[str, Any], size: int, seed: int, only: str) -> list[Mutant]:
    """So many mutants, of places that the seed decides; the same seed and more of them begin alike.

    `only` is what the names of their modules begin with.
    """
    places = [ways for ways in mutants(chosen) if ways[0].module.startswith(only)]
    dice = random.Random(seed)
    dice.shuffle(places)
    return [dice.choice(ways) for ways in places][:size]


def copy_of_the_project(folder: Path) -> Path:
    """Copy what git knows, and what it would not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],  # noqa: S607 - as it is on PATH
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    shutil.rmtree(folder, ignore_errors=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def tests_fail(tree: Path, tests: Sequence[str], seconds: float) -> bool:
    """Run these tests; what does not end counts as a failure, too.

    Raises:
        RuntimeError: there are no such tests.

    """
    options = ["-x", "-q", "-p", "no:cacheprovider", "--no-header"]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ran = subprocess.run(
            [str(PYTHON), "-m", "pytest", *options, *tests],
            cwd=tree,
            env=environment,
            timeout=seconds,
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    if ran.returncode not in {0, 1, 2}:
        raise RuntimeError(ran.stdout + ran.stderr)
    return ran.returncode != 0


def difference(before: str, after: str) -> list[str]:
    """The lines that a mutant changes, as `-` and `+`."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


class Run:
    """Tries mutants in several copies of the project at a time, and notes each result in a file."""

    def __init__(self, chosen: Mapping[str, Any], jobs: int, end: float) -> None:
        self._operators = chosen
        self._end = end
        self._trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            self._trees.put(copy_of_the_project(BUILD / f"tree-{number}"))
        self._jobs = jobs
        self._limits: dict[str, float] = {}
        self._notes = BUILD / "results.jsonl"

    def known(self) -> dict[str, dict[str, Any]]:
        """Results of earlier runs."""
        if not self._notes.exists():
            return {}
        lines = map(json.loads, self._notes.read_text().splitlines())
        return {json.dumps(line["mutant"]): line for line in lines}

    def all(self, wanted: Sequence[Mutant]) -> list[dict[str, Any]]:
        """Try what is not known yet, until time is over; give all results that there are."""
        known = self.known()
        left = [one for one in wanted if json.dumps(asdict(one)) not in known]
        # Module by module, so that what the tests of one take without a mistake is known when it is needed.
        with ThreadPoolExecutor(self._jobs) as pool:
            for module in {one.module: None for one in left}:
                self._prepare(module)
                list(pool.map(self._try, [one for one in left if one.module == module]))
        known = self.known()
        return [known[key] for one in wanted if (key := json.dumps(asdict(one))) in known]

    def _prepare(self, module: str) -> None:
        """See that the tests pass without a mistake, and how long that takes."""
        if time.monotonic() > self._end:
            return
        tree = self._trees.get()
        try:
            began = time.monotonic()
            if tests_fail(tree, test_files(module), 1800):
                raise SystemExit(f"the tests of {module} fail as it is")
            self._limits[module] = 60 + 5 * (time.monotonic() - began)
        finally:
            self._trees.put(tree)

    def _try(self, mutant: Mutant) -> None:
        if time.monotonic() > self._end or mutant.module not in self._limits:
            return
        before = (ROOT / mutant.path).read_text()
        after = mutate_code(before, self._operators[mutant.operator], mutant.occurrence) or before
        try:
            compile(after, mutant.path, "exec")
        except SyntaxError:
            return  # such as another operator in place of the `*` between parameters
        changed = difference(before, after)
        found = {"mutant": asdict(mutant), "killed": False, "by_others": False, "changed": changed}
        word = "equivalent"
        if not is_equivalent(found):
            own, others = self._noticed(mutant, before, after)
            found |= {"killed": own or others, "by_others": others}
            word = "killed" if own else "killed by others" if others else "SURVIVED"
        with self._notes.open("a") as notes:
            notes.write(json.dumps(found) + "\n")
        sys.stdout.write(f"{word} {mutant.path}:{mutant.line} {' '.join(changed)[:150]}\n")
        sys.stdout.flush()

    def _noticed(self, mutant: Mutant, before: str, after: str) -> tuple[bool, bool]:
        """Tell whether the tests of the mutant's module notice it, and whether only others do."""
        tree = self._trees.get()
        path = tree / mutant.path
        try:
            path.write_text(after)
            own = tests_fail(tree, test_files(mutant.module), self._limits[mutant.module])
            return own, not own and tests_fail(tree, ALL_TESTS, ALL_TESTS_SECONDS)
        finally:
            path.write_text(before)
            self._trees.put(tree)


def is_equivalent(result: Mapping[str, Any]) -> bool:
    """Tell whether a mutant is listed as equivalent."""
    listed = json.loads(EQUIVALENT.read_text())
    return any(
        one["module"] == result["mutant"]["module"]
        and [line.strip() for line in one["changed"]]
        == [line[0] + line[1:].strip() for line in result["changed"]]
        for one in listed
    )


def summary(results: Sequence[Mapping[str, Any]], seed: int) -> str:
    """Say in Markdown how many of each module were noticed."""
    counts: dict[str, Counter[str]] = {}
    for result in results:
        if result["killed"]:
            kind = "others" if result["by_others"] else "own"
        else:
            kind = "equivalent" if is_equivalent(result) else "survived"
        counts.setdefault(result["mutant"]["module"], Counter())[kind] += 1
    total = sum(counts.values(), Counter())
    noticed = total["own"] + total["others"]
    counted = noticed + total["survived"]
    lines = [
        f"{100 * noticed / max(1, counted):.0f} % of {counted} mutants were noticed "
        f"(seed {seed}; {total['equivalent']} more change nothing that could be noticed).",
        "",
        "| Module | Noticed by its own tests | by others | Survived | Equivalent |",
        "|---|--:|--:|--:|--:|",
    ]
    kinds = ("own", "others", "survived", "equivalent")
    for module, found in sorted(counts.items()):
        lines.append(f"| {module} | {' | '.join(str(found[kind]) for kind in kinds)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Try mutants; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Makes mistakes in the code and runs the tests on each.")
    parser.add_argument("--sample", type=int, default=100, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1, help="decides which")
    parser.add_argument("--only", default="", help="of modules that begin so, as records/ or work/sweep.py")
    parser.add_argument("--minutes", type=float, default=120, help="after which no other one is tried")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time")
    parser.add_argument("--write", type=Path, help="document to put the score into")
    chosen = parser.parse_args(arguments)
    BUILD.mkdir(parents=True, exist_ok=True)
    known_operators = operators()
    run = Run(known_operators, chosen.jobs, time.monotonic() + chosen.minutes * 60)
    results = run.all(sample(known_operators, chosen.sample, chosen.seed, chosen.only))
    for result in results:
        if not (result["killed"] or is_equivalent(result)):
            where = f"chalicelib/{result['mutant']['module']}:{result['mutant']['line']}"
            sys.stdout.write("\n".join([f"\nsurvived: {where}", *result["changed"], ""]))
    text = summary(results, chosen.seed)
    sys.stdout.write(f"\n{text}\n")
    if chosen.write:
        documents.write(chosen.write, COMMAND, text)


if __name__ == "__main__":
    main()
