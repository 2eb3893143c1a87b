"""Stores extended XYZ files in lorem-jax's format; runs in the lorem-jax environment.

python marathon_data.py FOLDER NAME=FILE.xyz …
"""

import sys
from pathlib import Path

import ase.io
from marathon.grain import prepare

PROPERTIES = {
    "energy": {"shape": (1,), "storage": "atoms.calc"},
    "forces": {"shape": ("atom", 3), "storage": "atoms.calc"},
}

if __name__ == "__main__":
    for argument in sys.argv[2:]:
        name, file = argument.split("=", maxsplit=1)
        prepare(ase.io.read(file, ":"), folder=Path(sys.argv[1]) / name, properties=PROPERTIES)
