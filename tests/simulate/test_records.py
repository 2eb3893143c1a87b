"""Files of a run: cut to the checkpoint, moved at the end, refused when damaged."""

import numpy as np
import pytest
from openmm import app, unit

from lorem_openmm.errors import DataError
from lorem_openmm.simulate.records import MOVED, Records

SETTINGS = {"start": "x", "seed": 1}


def progress(frames):
    return {"settings": SETTINGS, "platform": "Reference", "step": 10 * frames, "frames": frames, "report_interval": 10}


def topology():
    result = app.Topology()
    residue = result.addResidue("CL", result.addChain())
    result.addAtom("Cl1", app.element.chlorine, residue)
    return result


def write_frames(path, first, last):
    append = path.exists()
    with path.open("r+b" if append else "w+b") as stream:
        file = app.DCDFile(stream, topology(), 0.0005, 10, 10, append=append)
        for k in range(first, last):
            file.writeModel([[float(k), 0.0, 0.0]] * unit.angstrom)


def read_frames(path):
    """x of the one atom of each frame; the frames are 36 bytes long and follow a header of 276."""
    content = path.read_bytes()
    assert (len(content) - 276) % 36 == 0
    assert int.from_bytes(content[8:12], "little") == (len(content) - 276) // 36
    return [float(np.frombuffer(content, "<f4", 1, 276 + 36 * k + 4)[0]) for k in range((len(content) - 276) // 36)]


@pytest.fixture
def records(tmp_path):
    """A run that was killed after 7 frames and a part of one, with its last checkpoint at 5 frames."""
    result = Records(tmp_path / "run")
    result.folder.mkdir(parents=True)
    result.topology.write_text("topology")
    result.save(b"at 0", progress(0))
    write_frames(result.trajectory, 0, 5)
    result.state.write_text("header\n" + "".join(f"{k}\n" for k in range(5)))
    result.save(b"at 5", progress(5))
    write_frames(result.trajectory, 5, 7)
    with result.trajectory.open("ab") as stream:
        stream.write(b"part of a frame")
    with result.state.open("a") as stream:
        stream.write("5\n6\n7")
    return result


def test_restore_cuts_to_the_checkpoint_and_appending_goes_on(records):
    assert records.restore() == b"at 5"
    assert read_frames(records.trajectory) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert records.state.read_text() == "header\n0\n1\n2\n3\n4\n"
    write_frames(records.trajectory, 5, 8)
    assert read_frames(records.trajectory) == list(range(8))


def test_only_the_last_checkpoint_is_kept(records):
    assert [path.name for path in records.folder.glob("*.chk")] == ["checkpoint-50.chk"]


def test_a_checkpoint_that_was_not_named_does_not_count(records):
    (records.folder / "checkpoint-70.chk").write_bytes(b"written, but progress.json was not")
    assert records.restore() == b"at 5"


def test_killed_before_the_first_frame(tmp_path):
    records = Records(tmp_path / "run")
    records.folder.mkdir(parents=True)
    records.save(b"at 0", progress(0))
    write_frames(records.trajectory, 0, 2)
    records.state.write_text("header\n0\n")
    assert records.restore() == b"at 0"
    assert not records.trajectory.exists()
    assert not records.state.exists()


def test_finish_moves_everything_and_reopen_takes_it_back(records):
    records.restore()
    summary = records.finish({"settings": SETTINGS, "steps": 50})
    assert records.finished() == summary
    assert sorted(path.name for path in records.output.iterdir()) == sorted([*MOVED, "summary.json"])

    records.reopen(summary)
    assert records.finished() is None
    assert records.started()["settings"] == SETTINGS
    assert records.restore() == b"at 5"
    assert read_frames(records.trajectory) == list(range(5))


@pytest.mark.parametrize("count", range(len(MOVED) + 1))
def test_killed_while_finishing(records, count):
    records.restore()
    for name in MOVED[:count]:
        source = "checkpoint-50.chk" if name == "checkpoint.chk" else name
        (records.folder / source).replace(records.output / name)
    assert records.finished() is None
    assert records.restore() == b"at 5"
    assert read_frames(records.trajectory) == list(range(5))
    assert records.finished() is None
    assert records.finish({"settings": SETTINGS}) == records.finished()


@pytest.mark.parametrize("name", ["trajectory.dcd", "state.csv", "checkpoint-50.chk"])
@pytest.mark.parametrize("how", ["missing", "shorter"])
def test_damaged_files_are_refused(records, name, how):
    path = records.folder / name
    content = path.read_bytes()
    path.unlink()
    if how == "shorter":
        path.write_bytes(content[:3])
    with pytest.raises(DataError, match=rf"{name}: (must hold at least|missing or altered).*start anew"):
        records.restore()


def test_other_settings_are_named(records):
    changes = records.changes({"start": "x", "seed": 2, "temperature": 300}, 1000)
    assert changes == "  seed: 1 there, 2 now\n  temperature: None there, 300 now"
    assert records.changes(dict(SETTINGS), 1000) == ""
    assert records.changes(dict(SETTINGS), 10) == "  steps: 50 there, 10 now"


def test_remove_leaves_other_files_alone(records):
    records.restore()
    records.finish({"settings": SETTINGS})
    (records.output / "notes.txt").write_text("mine")
    records.remove()
    assert [path.name for path in records.output.iterdir()] == ["notes.txt"]
