"""Line and branch coverage of chosen sources, out of `llvm-cov export`.

    coverage.py EXPORT.json LEAST FILE...

Prints a line a file and each branch that was never taken; fails below LEAST per cent of all
branches. Left out are tests, and assertions: their failing side is what all the others show never
to happen. A branch is a condition and the way it went; instances of generic code count together.
"""

import json
import re
import sys

ASSERTS = re.compile(r"\b(assert|assert_eq|assert_ne|panic|unreachable)!\(|\.expect\(")


def left_out(text):
    """Numbers of the lines that hold tests, and of those within an assertion."""
    lines, numbers, depth = text.splitlines(), set(), 0
    for number, line in enumerate(lines, 1):
        if line == "mod tests {":
            numbers.update(range(number, len(lines) + 1))
            break
        found = ASSERTS.search(line)
        # `let … else` that ends in a panic is an assertion as well.
        if line.endswith("else {") and number < len(lines) and ASSERTS.search(lines[number]):
            numbers.add(number)
        if depth > 0 or found:
            numbers.add(number)
            part = line if depth > 0 else line[found.start() :]
            depth = max(0, depth + part.count("(") - part.count(")"))
    return numbers


def count(files, skip):
    """Lines and branches of one source, wherever it was built: how often each was met."""
    lines, branches = {}, {}
    for file in files:
        for line, _, times, has_count, is_entry, *_ in file["segments"]:
            if has_count and is_entry and line not in skip:
                lines[line] = max(times, lines.get(line, 0))
        for branch in file["branches"]:
            place, (taken, passed) = tuple(branch[:4]), branch[4:6]
            if place[0] not in skip:
                for way, times in (("true", taken), ("false", passed)):
                    branches[place, way] = branches.get((place, way), 0) + times
    return lines, branches


def share(counts):
    met = sum(1 for times in counts if times > 0)
    return met, len(counts), 100.0 * met / len(counts) if counts else 100.0


def main(export, least, *names):
    with open(export, encoding="utf-8") as data:
        files = json.load(data)["data"][0]["files"]
    all_lines, all_branches, never = [], [], []
    for name in names:
        found = [file for file in files if file["filename"].endswith("/" + name)]
        if not found:
            sys.exit(f"{name} was never run")
        with open(name, encoding="utf-8") as source:
            text = source.read()
        lines, branches = count(found, left_out(text))
        all_lines += lines.values()
        all_branches += branches.values()
        print("%-36s lines %4d of %4d %6.2f %%  branches %4d of %4d %6.2f %%"
              % (name, *share(lines.values()), *share(branches.values())))
        source_lines = text.splitlines()
        for ((line, column, *_), way), times in sorted(branches.items()):
            if times == 0:
                never.append(f"{name}:{line}:{column} never {way}: {source_lines[line - 1].strip()}")
    print("\n".join(never))
    print("%-36s lines %4d of %4d %6.2f %%  branches %4d of %4d %6.2f %%"
          % ("all", *share(all_lines), *share(all_branches)))
    return share(all_branches)[2] >= float(least)


if __name__ == "__main__":
    sys.exit(0 if main(*sys.argv[1:]) else f"branch coverage is below {sys.argv[2]} %")
