"""Settings for all tests; what they cost, and whether those that are slow are marked so (the rule: pyproject.toml)."""

import os
import signal
import sys
from collections import defaultdict
from pathlib import Path, PurePosixPath

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small systems; pytest-xdist uses the cores

import pytest
import torch

torch.set_num_threads(1)

LIMIT = 5.0  # CPU seconds of a test, what it needs included
FAR_ABOVE = 60.0  # no slow machine explains this: the run fails

SECONDS = pytest.StashKey[float]()
done_now: set[str] = set()  # what the test that runs now did and only slow tests do
seconds: defaultdict[str, float] = defaultdict(float)  # by test
unmarked: dict[str, str] = {}  # reasons, by test
failures: list[str] = []  # tests without the mark that surely need it


@pytest.fixture(scope="session")
def reference_data() -> Path:
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("LOREM_REFERENCE_DATA", beside))
    if not folder.is_dir():
        pytest.skip("reference data not found: set LOREM_REFERENCE_DATA to their folder")
    return folder


def notice(event, arguments):
    """Python tells of everything that runs; see sys.addaudithook."""
    if event == "subprocess.Popen" and not isinstance(arguments[1], str | bytes):
        if "snakemake" in [PurePosixPath(os.fsdecode(word)).name for word in arguments[1]]:
            done_now.add("runs Snakemake")
    elif event in ("os.kill", "os.killpg") and arguments[1] == signal.SIGKILL:
        done_now.add("kills a process")


sys.addaudithook(notice)


def cpu_seconds() -> float:
    """Of this process and of those it waited for: hardly depends on what else the machine does, as the clock does."""
    return sum(os.times()[:4])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Slow files first, so that no worker of pytest-xdist ends long after the others."""
    slow_files = set()
    for item in items:
        if item.get_closest_marker("parity"):  # lorem-jax compiles for a minute
            item.add_marker("slow")
        if item.get_closest_marker("slow"):
            slow_files.add(item.path)
    items.sort(key=lambda item: item.path not in slow_files)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    item.stash[SECONDS] = cpu_seconds()
    done_now.clear()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Once for each of setup, call and teardown."""
    report = yield
    before, item.stash[SECONDS] = item.stash[SECONDS], cpu_seconds()
    report.cpu_seconds = item.stash[SECONDS] - before
    report.reasons = sorted(done_now)
    return report


def pytest_runtest_logreport(report):
    """Comes from pytest-xdist's workers too; a worker that crashed has measured nothing."""
    name = report.nodeid
    seconds[name] += getattr(report, "cpu_seconds", 0.0)
    if "slow" in report.keywords:
        return
    reasons = list(getattr(report, "reasons", []))
    if reasons or seconds[name] > FAR_ABOVE:
        failures.append(name)
    if seconds[name] > LIMIT:
        reasons.append(f"{seconds[name]:.1f} s of CPU time")
    if reasons:
        unmarked[name] = ", ".join(reasons)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if failures and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("durations") is not None:
        folders: defaultdict[str, list[float]] = defaultdict(list)
        for name, value in seconds.items():
            folders[str(PurePosixPath(name.partition("::")[0]).parent)].append(value)
        terminalreporter.section("CPU time")
        for folder, values in sorted(folders.items(), key=lambda entry: -sum(entry[1])):
            terminalreporter.line(f"{sum(values):7.1f} s  {len(values):5d} tests  {folder}")
        terminalreporter.line(f"{sum(seconds.values()):7.1f} s  {len(seconds):5d} tests")
    if unmarked:
        terminalreporter.section("without the mark slow")
        for name, reason in unmarked.items():
            terminalreporter.line(f"{name}: {reason}")
        if failures:
            terminalreporter.line("A test that runs Snakemake, kills a process or takes much longer must be marked.")
