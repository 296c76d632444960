"""The mutation score of the test suite: ``PYTHONPATH=tests python -m suite_mutants COMMAND`` from the root."""

import argparse
import signal
import sys
from pathlib import Path

from suite_mutants import coverage_map, score
from suite_mutants.sample import sample


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # nothing is left behind
    sampled = sample(arguments.size, arguments.seed)
    if arguments.command == "list":
        for edit, area in sampled.items():
            print(f"{edit.id}\t{edit.path}:{edit.line}\t{area}\t{edit.change}")
    if arguments.command == "map":
        mapped = coverage_map.make(arguments.out, arguments.tests, arguments.workers)
        print(f"{len(mapped.tests)} tests in {mapped.cost(mapped.tests):.0f} seconds: {arguments.out / 'map.json'}")
        print("".join(f"\nfails without an edit, left out: {test}" for test in mapped.failed))
    if arguments.command == "score":
        unknown = set(arguments.ids or ()) - {edit.id for edit in sampled}
        if unknown:
            print(f"not in the sample: {', '.join(sorted(unknown))}", file=sys.stderr)
            return 2
        chosen = {edit: area for edit, area in sampled.items() if arguments.ids is None or edit.id in arguments.ids}
        known_map = coverage_map.read(arguments.map)
        score.run(chosen, known_map, arguments.out, arguments.limit_seconds, arguments.cap_seconds, arguments.confirm)
    if arguments.command == "report":
        print("\n".join(score.report(score.read(arguments.files), {edit.id: edit for edit in sampled})))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="suite_mutants", description=__doc__)
    parser.add_argument("--size", type=int, default=200, help="edits in the sample, about (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="which edits are drawn (default: 0)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the edits: id, place, area, change")
    mapping = commands.add_parser("map", help="run the unedited suite under coverage: which tests run which line")
    mapping.add_argument("--out", type=Path, required=True, help="a folder for map.json")
    mapping.add_argument("--workers", type=int, default=0, help="processes of pytest-xdist (default: none)")
    mapping.add_argument("tests", nargs="*", help="test files (default: all)")
    scoring = commands.add_parser("score", help="try the edits, and add a line for each to a file")
    scoring.add_argument("--map", type=Path, required=True, help="map.json")
    scoring.add_argument("--out", type=Path, required=True, help="lines of JSON; the edits that it has are skipped")
    scoring.add_argument("--ids", nargs="+", help="these edits alone")
    scoring.add_argument("--limit-seconds", type=float, default=300.0, help="for the tests of an edit (default: 300)")
    scoring.add_argument("--cap-seconds", type=float, default=120.0, help="of unedited tests (default: 120)")
    scoring.add_argument("--confirm", action="store_true", help="run each killing test without the edit too")
    reporting = commands.add_parser("report", help="print the score of each area, and what survived")
    reporting.add_argument("files", type=Path, nargs="+", help="files of `score`")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
