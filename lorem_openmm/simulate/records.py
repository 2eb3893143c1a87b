"""What a simulation writes, in an order that survives a kill at any moment.

While a run goes on, its files lie in the folder ``unfinished``; at the end they move up, and the summary is written
last. So a file with its final name is complete, and what is unfinished can be continued. A run that fell apart has its
files in the folder ``unstable`` as well, because workflows remove the results of a job that fails.

A checkpoint is complete once ``progress.json`` names it. It records the lengths of trajectory and table; to continue,
both are cut to these lengths, so that no frame is missing and none is there twice.
"""

import os
import shutil
import struct
from pathlib import Path
from typing import Any

from lorem_openmm.errors import DataError
from lorem_openmm.files import atomic_path, read_json, sha256_of_file, write_json

TRAJECTORY = "trajectory.dcd"
STATE = "state.csv"
TOPOLOGY = "topology.pdb"
CHECKPOINT = "checkpoint.chk"
SUMMARY = "summary.json"
PROGRESS = "progress.json"
UNFINISHED = "unfinished"
UNSTABLE = "unstable"
MOVED = (TRAJECTORY, STATE, TOPOLOGY, CHECKPOINT)
START_ANEW = "choose another output, or start anew with --restart (which removes what is there)"


class Records:
    """The files of one run, and how far it is.

    Args:
        output: Folder of the finished run.
    """

    def __init__(self, output: Path):
        self.output = output
        self.folder = output / UNFINISHED
        self.trajectory = self.folder / TRAJECTORY
        self.state = self.folder / STATE
        self.topology = self.folder / TOPOLOGY
        self.progress_file = self.folder / PROGRESS
        self.summary_file = output / SUMMARY

    def finished(self) -> dict[str, Any] | None:
        """Returns the summary of a finished run, if all its files are there."""
        complete = self.summary_file.is_file() and all((self.output / name).is_file() for name in MOVED)
        return read_json(self.summary_file) if complete and not self.progress_file.is_file() else None

    def started(self) -> dict[str, Any] | None:
        """Returns what the last checkpoint of an unfinished run recorded."""
        return read_json(self.progress_file) if self.progress_file.is_file() else None

    def remove(self) -> None:
        """Removes everything that a run writes, the summary first."""
        names = [self.summary_file, *(self.output / name for name in MOVED)]
        folders = [folder for folder in (self.folder, self.output / UNSTABLE) if folder.is_dir()]
        names += [self.progress_file, *(path for folder in folders for path in folder.iterdir())]
        for path in names:
            path.unlink(missing_ok=True)
        for folder in folders:
            folder.rmdir()

    def reopen(self, summary: dict[str, Any]) -> None:
        """Makes a finished run unfinished again, to make it longer; `restore` takes its files back.

        Args:
            summary: Summary of the finished run.
        """
        write_json(self.progress_file, {**summary["restart"], "settings": summary["settings"]})
        self.summary_file.unlink(missing_ok=True)

    def save(self, checkpoint: bytes, progress: dict[str, Any]) -> None:
        """Writes a checkpoint.

        Args:
            checkpoint: OpenMM's.
            progress: At least ``step``; the lengths of the files are added.
        """
        previous = (self.started() or {}).get("checkpoint")
        lengths = {}
        for path in (self.trajectory, self.state):
            lengths[path.name] = path.stat().st_size if path.is_file() else 0
            if lengths[path.name]:
                _flush(path)
        # Each checkpoint has its own name: the old one stays whole until progress.json names the new one.
        name = f"checkpoint-{progress['step']}.chk"
        with atomic_path(self.folder / name) as temporary:
            temporary.write_bytes(checkpoint)
        digest = sha256_of_file(self.folder / name)
        write_json(self.progress_file, {**progress, "lengths": lengths, "checkpoint": name, "sha256": digest})
        if previous not in (None, name):
            (self.folder / previous).unlink(missing_ok=True)

    def restore(self) -> bytes:
        """Cuts trajectory and table to the last checkpoint, and returns it.

        Raises:
            DataError: If a file is shorter than the checkpoint says, or was altered.
        """
        progress = read_json(self.progress_file)
        for name in MOVED:  # a kill while files were moving up
            if not (self.folder / name).is_file():
                self._move(self.output / name, self.folder / name)
        checkpoint = self.folder / progress["checkpoint"]
        self._move(self.folder / CHECKPOINT, checkpoint)
        if not checkpoint.is_file() or sha256_of_file(checkpoint) != progress["sha256"]:
            raise DataError(f"{checkpoint}: missing or altered; {START_ANEW}")
        for path in (self.trajectory, self.state):
            length = progress["lengths"][path.name]
            found = path.stat().st_size if path.is_file() else 0
            if found < length:
                raise DataError(
                    f"{path}: must hold at least the {length} bytes of the last checkpoint; found {found}; {START_ANEW}"
                )
            if length == 0:
                path.unlink(missing_ok=True)
            elif found > length:
                os.truncate(path, length)
        if self.trajectory.is_file():
            _count_frames(self.trajectory, progress["frames"], progress["report_interval"])
        return checkpoint.read_bytes()

    def finish(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Moves everything to its final name and writes the summary, which it returns."""
        progress = read_json(self.progress_file)
        for name in MOVED:
            source = progress["checkpoint"] if name == CHECKPOINT else name
            self._move(self.folder / source, self.output / name)
        summary = {**summary, "restart": {key: progress[key] for key in progress if key != "settings"}}
        write_json(self.summary_file, summary)
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()
        return summary

    def keep(self) -> Path:
        """Links the files of a run that fell apart into a folder of their own, which it returns."""
        folder = self.output / UNSTABLE
        folder.mkdir(exist_ok=True)
        for name in (*MOVED, SUMMARY):
            _link(self.output / name, folder / name)
        return folder

    def take_back(self, settings: dict[str, Any]) -> dict[str, Any] | None:
        """Brings back a run that fell apart and was removed by a workflow, if it had the same settings.

        Args:
            settings: Those asked for.

        Returns:
            Its summary, or None where there is no such run.
        """
        folder = self.output / UNSTABLE
        if self.progress_file.is_file() or not (folder / SUMMARY).is_file():
            return None
        summary = read_json(folder / SUMMARY)
        if summary["settings"] != settings:
            return None
        for name in (*MOVED, SUMMARY):
            _link(folder / name, self.output / name)
        return self.finished()

    def changes(self, now: dict[str, Any], steps: int) -> str:
        """Returns in what a run that is here differs from the one asked for; empty: it can be continued, or none is.

        Args:
            now: Settings.
            steps: The number asked for; a run that is longer already cannot be continued to it.
        """
        held = self.finished() or self.started()
        if held is None:
            return ""
        before, done = held["settings"], held["steps"] if "steps" in held else held["step"]
        lines = [
            f"  {key}: {before.get(key)} there, {now.get(key)} now"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key)
        ]
        if steps < done:
            lines.append(f"  steps: {done} there, {steps} now")
        return "\n".join(lines)

    @staticmethod
    def _move(source: Path, target: Path) -> None:
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)


def _link(source: Path, target: Path) -> None:
    """Makes a file have a second name; a copy where the file system has no hard links."""
    if not source.is_file() or (target.is_file() and target.samefile(source)):
        return
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _count_frames(trajectory: Path, frames: int, interval: int) -> None:
    """Writes the number of frames and the last step into a DCD header, where appending reads them."""
    with trajectory.open("r+b") as stream:
        stream.seek(8)
        stream.write(struct.pack("<i", frames))
        stream.seek(20)
        stream.write(struct.pack("<i", frames * interval))
