"""Usage: programs.py
Fails when a script or a test calls a program that the development shell of Nix (nix/programs.nix) does not have, or when that
file names one that nobody calls. The scripts are read by a parser of bash, so that neither words in texts nor functions are
taken for programs.
"""

import pathlib
import re
import subprocess
import sys

import tree_sitter_bash
from tree_sitter import Language, Parser

PARSER = Parser(Language(tree_sitter_bash.language()))
# What every shell of Nix has: bash, coreutils, diffutils, findutils, gawk, gnugrep, gnused, gnutar, gzip.
ALWAYS = set(
    "awk base64 basename bash cat chmod chown cksum cmp comm cp cut date df diff dirname du env find grep gzip head id install ln ls"
    " mkdir mktemp mv nice nproc od paste printf realpath rm rmdir sed seq sh sha256sum shuf sleep sort stat sync tail tar tee"
    " timeout touch tr uname uniq wc xargs".split()
)
# Programs that come another way, and how.
ELSEWHERE = {
    **dict.fromkeys(("apk", "apt-get", "brew", "dnf", "dpkg", "pacman"), "scripts/test and others install by them where Nix is not"),
    "cc": "the shell's own compiler",
    "docker": "needs a daemon of the machine's",
    "nix": "makes the shell",
    "pg_config": "where there is one, scripts/test asks it; in the shell the programs are on the PATH",
    "rustup": "asked for only where cargo is not there",
    "chromium-browser": "Chromium, as others call it",
    "google-chrome": "the same",
    "check-jsonschema": "installed by scripts/lint-shipping",
    "checkov": "installed by scripts/lint-shipping",
    "hadolint": "installed by scripts/lint-shipping",
    "kubernetes-validate": "installed by scripts/lint-shipping",
    "shellcheck": "installed by scripts/lint-shipping",
    "waybill": "what is built here",
}
# Commands that run another one, and which of their words that is not an option names it.
RUNS = {"exec": 0, "command": 0, "env": 0, "nice": 0, "timeout": 1, "xargs": 0}
PROGRAM = re.compile(r"[a-z][a-z0-9_.-]*")


def scripts():
    for folder in (".ci", "kustomize", "nix", "scripts"):
        for file in sorted(pathlib.Path(folder).rglob("*")):
            if file.is_file() and not file.is_symlink():
                first = file.read_bytes().split(b"\n", 1)[0]
                if file.suffix == ".sh" or re.match(rb"#!.*\b(ba)?sh\b", first):
                    yield file


def calls(file, functions):
    """The programs that a script calls. Its functions are put with the others."""
    # The parser takes the bracket in `${host%]}` for the end of something.
    todo, found = [PARSER.parse(file.read_bytes().replace(b"%]}", b"%x}")).root_node], set()
    while todo:
        node = todo.pop()
        todo += node.children
        if node.type == "function_definition":
            functions.add(node.child_by_field_name("name").text.decode())
        elif node.type == "command" and (name := node.child_by_field_name("name")) is not None:
            words = [child.text.decode() for child in node.children_by_field_name("argument")]
            words = [word for word in words if not word.startswith("-") and "=" not in word]
            found.add(name.text.decode())
            # A word that stands for a variable leaves open what it is.
            at = RUNS.get(name.text.decode())
            if at is not None and len(words) > at:
                found.add(words[at])
    return {name for name in found if PROGRAM.fullmatch(name)}


def tests():
    for folder in ("tests", "benches"):
        for file in sorted(pathlib.Path(folder).rglob("*.rs")):
            yield file, set(re.findall(r'Command::new\("([a-z][a-z0-9_-]*)"\)', file.read_text()))


def main():
    functions, called = set(), {}
    builtins = set(subprocess.run(["bash", "-c", "compgen -b -k"], capture_output=True, text=True).stdout.split())
    for file, programs in [(file, calls(file, functions)) for file in scripts()] + list(tests()):
        for program in programs:
            called.setdefault(program, file)
    offered = set(re.findall(r"^  ([a-z0-9_-]+) = ", pathlib.Path("nix/programs.nix").read_text().split("\nin\n")[1], re.M))
    known = functions | builtins | ALWAYS | ELSEWHERE.keys() | offered
    wrong = [f"{file} calls {program}, which nix/programs.nix does not have" for program, file in called.items() if program not in known]
    wrong += [f"nix/programs.nix has {program}, which nothing calls" for program in offered - called.keys()]
    if wrong:
        sys.exit("\n".join(sorted(wrong)))
    print(f"programs: scripts and tests call {len(offered & called.keys())} beside those of every shell, and the shell has them")


main()
