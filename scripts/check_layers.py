#!/usr/bin/env python3
"""Checks that dependencies point down: which folder's files include which folder's headers.

Exit status 1 and one line per offence if any include points upwards; also if a rule names a folder that does not exist.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Folder -> folders its files may include. The most specific folder of a file decides.
ALLOWED = {
    "vmm/base": {"vmm/base"},
    "mm": {"mm", "vmm/base"},
    "arch": {"arch", "mm", "vmm/base"},
    "spe": {"spe", "arch", "mm", "vmm/base"},
    "devices": {"devices", "arch", "mm", "vmm/base"},
    "vmm": {"vmm", "devices", "spe", "arch", "mm", "vmm/base"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def layer_of(path: str) -> str | None:
    """The longest rule folder that `path` lies in."""
    return max((f for f in ALLOWED if path.startswith(f + "/")), key=len, default=None)


def main() -> int:
    offences = [f"{folder}: no such folder" for folder in ALLOWED if not (ROOT / folder).is_dir()]
    files = 0
    for top in sorted({folder.split("/")[0] for folder in ALLOWED}):
        for file in sorted((ROOT / top).rglob("*")):
            if file.suffix not in {".h", ".cpp", ".inc"}:
                continue
            files += 1
            name = str(file.relative_to(ROOT))
            layer = layer_of(name)
            for included in INCLUDE.findall(file.read_text(encoding="utf-8")):
                target = layer_of(included)
                if target is None:
                    offences.append(f'{name}: "{included}" is not a path from the root of the tree')
                elif target not in ALLOWED[layer]:
                    offences.append(f'{name}: {layer} may not include {target} ("{included}")')
    for offence in offences:
        print(offence)
    print(f"{files} files checked, {len(offences)} offences")
    return 1 if offences or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
