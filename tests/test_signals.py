"""Signals and lost readers, in the test's own process where that shows the same."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from functools import partial

import pytest

from fastsep import entry, signals
from fastsep.errors import ToldElsewhere, UserError
from fastsep.runs.checkpoint import newest_checkpoint


def status_of(main) -> int:
    """The exit status of a command that consists of ``main``."""
    try:
        entry.run(main)
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.mark.parametrize("signum", (*signals.SIGNALS, *signals.OF_JOBS))
def test_a_signal_unwinds_with_its_status_and_one_line(signum, capsys):
    cleaned = []

    def main():
        try:
            signal.raise_signal(signum)
        finally:
            cleaned.append(True)

    assert status_of(main) == 128 + signum
    assert capsys.readouterr().err == f"stopped by {signum.name}: no file is half written\n"
    assert cleaned


def test_what_another_process_has_told_is_not_told_again(capsys):
    def main():
        try:
            signal.raise_signal(signal.SIGTERM)
        except signals.Stopped as stop:
            raise ToldElsewhere(stop.status) from None

    assert status_of(main) == 143
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("signum", (*signals.SIGNALS, *signals.OF_JOBS))
def test_a_signal_inherited_as_ignored_stays_ignored(signum):
    before = signal.signal(signum, signal.SIG_IGN)
    try:
        assert status_of(lambda: signal.raise_signal(signum)) == 0
        assert signal.getsignal(signum) == signal.SIG_IGN
    finally:
        signal.signal(signum, before)


def test_signals_of_jobs_are_left_to_programs_that_call_the_library():
    code = (
        "import faulthandler, signal, sys; faulthandler.register(signal.SIGUSR1, sys.stderr)\n"
        "from fastsep import signals\n"
        "with signals.held(): signal.raise_signal(signal.SIGUSR1)\n"
        "signal.raise_signal(signal.SIGUSR1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.count("most recent call first") == 2


def test_a_limit_of_time_that_is_told_every_second_insists_on_nothing(monkeypatch):
    monkeypatch.setattr(signals, "_SAME_REQUEST", 0.0)
    seen = []

    def main():
        with signals.held():
            for _ in range(3):
                signal.raise_signal(signal.SIGXCPU)
            seen.append("saved")

    assert status_of(main) == 128 + signal.SIGXCPU
    assert seen == ["saved"]


def test_held_waits_for_the_end_of_the_outermost_block():
    seen = []

    def main():
        with signals.held() as request:
            with signals.held():
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGINT)  # within a second: the same request
            seen.append(request.signum)
        seen.append("unreachable")

    assert status_of(main) == 143
    assert seen == [signal.SIGTERM]


def test_a_released_part_of_a_held_block_may_be_ended():
    seen = []

    def main():
        with signals.held():
            signal.raise_signal(signal.SIGTERM)
            seen.append("held")
            with signals.released():
                seen.append("unreachable")

    assert status_of(main) == 143
    assert seen == ["held"]


def test_what_a_block_further_out_holds_is_not_released():
    seen = []

    def main():
        with signals.held():
            with signals.held(), signals.released():
                signal.raise_signal(signal.SIGTERM)
            seen.append("held")

    assert status_of(main) == 143
    assert seen == ["held"]


def test_a_later_signal_stops_at_once_and_the_next_ends_the_process(monkeypatch):
    monkeypatch.setattr(signals, "_SAME_REQUEST", 0.0)
    exits = []
    monkeypatch.setattr(os, "_exit", exits.append)

    def main():
        with signals.held():
            signal.raise_signal(signal.SIGTERM)
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)

    assert status_of(main) == 143
    assert exits == [143]


def test_a_library_call_in_a_thread_leaves_signals_alone():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with signals.held() as request:
            seen.append((signal.getsignal(signal.SIGTERM), bool(request)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


def test_a_forked_worker_just_ends():
    with signals.held() as request:
        worker = os.fork()
        if worker == 0:
            signal.raise_signal(signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 143
        assert not request


def test_a_request_is_over_when_the_block_is():
    with pytest.raises(signals.Stopped), signals.heeded():
        signal.raise_signal(signal.SIGTERM)
    with signals.held() as request:
        assert not request


def in_a_finalizer(work):
    class Finalized:
        def __del__(self):
            work()

    Finalized()


def in_a_weak_callback(work):
    target = threading.Event()
    kept = weakref.ref(target, lambda _: work())
    del target
    assert kept() is None


def called_by_c(work):
    ctypes.CFUNCTYPE(None)(work)()


def at_the_end_of_a_generator(work):
    def generate():
        try:
            yield
        finally:
            work()

    next(generate())


def where_all_is_caught(work):
    with contextlib.suppress(BaseException):
        work()


def where_c_clears_it(work):
    class Key:
        def __hash__(self):
            work()
            return 0

    get = ctypes.pythonapi.PyDict_GetItem
    get.argtypes, get.restype = (ctypes.py_object, ctypes.py_object), ctypes.c_void_p
    get({}, Key())


def where_it_is_taken_for_another(work):
    try:
        work()
    except BaseException as error:
        raise ImportError("cannot be loaded") from error


SWALLOWING = [
    in_a_finalizer,
    in_a_weak_callback,
    called_by_c,
    at_the_end_of_a_generator,
    where_all_is_caught,
    where_c_clears_it,
    where_it_is_taken_for_another,
]


@contextlib.contextmanager
def plain():
    yield


@contextlib.contextmanager
def released_within_held():
    with signals.held(), signals.released():
        yield


@pytest.mark.parametrize("block", [plain, signals.held, released_within_held])
@pytest.mark.parametrize("swallow", SWALLOWING)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_request_that_is_swallowed_comes_again_and_nothing_is_printed(swallow, block, signum, capsys):
    seen, hook = [], sys.unraisablehook

    def main():
        with block():
            swallow(lambda: signal.raise_signal(signum))
            seen.append("went on")
            if block is not signals.held:
                time.sleep(20)
                seen.append("unreachable")

    begin = time.monotonic()
    assert status_of(main) == 128 + signum
    assert time.monotonic() - begin < 10
    assert seen == ["went on"] or swallow is where_it_is_taken_for_another
    assert "unreachable" not in seen
    assert capsys.readouterr().err == f"stopped by {signum.name}: no file is half written\n"
    assert sys.unraisablehook == hook


def test_a_request_is_swallowed_as_often_as_it_takes(capsys):
    swallowed = []

    def obstinate():
        signal.raise_signal(signal.SIGTERM)

    def slow():
        for work in (obstinate, lambda: time.sleep(20), lambda: time.sleep(20)):
            try:
                work()
            except signals.Stopped:
                swallowed.append(True)
        time.sleep(20)

    def main():
        in_a_finalizer(slow)
        time.sleep(20)

    assert status_of(main) == 143
    assert len(swallowed) == 3
    assert capsys.readouterr().err == "stopped by SIGTERM: no file is half written\n"


def test_a_block_that_ends_before_a_swallowed_request_comes_again_is_stopped(capsys):
    assert status_of(lambda: in_a_finalizer(lambda: signal.raise_signal(signal.SIGTERM))) == 143
    assert capsys.readouterr().err == "stopped by SIGTERM: no file is half written\n"
    time.sleep(3 * signals._MOMENT)  # nor does it come after the block, which would end this process


def test_insisting_within_a_held_block_is_not_lost_to_a_finalizer(monkeypatch, capsys):
    monkeypatch.setattr(signals, "_SAME_REQUEST", 0.0)

    def main():
        with signals.held():
            signal.raise_signal(signal.SIGTERM)
            in_a_finalizer(lambda: signal.raise_signal(signal.SIGTERM))
            time.sleep(20)
            raise AssertionError("unreachable")

    assert status_of(main) == 143
    assert capsys.readouterr().err == "stopped by SIGTERM: no file is half written\n"


def test_a_swallowed_request_that_comes_again_is_not_a_second_one(monkeypatch):
    exits, cleaned = [], []
    monkeypatch.setattr(os, "_exit", exits.append)

    def main():
        in_a_finalizer(lambda: signal.raise_signal(signal.SIGTERM))
        try:
            time.sleep(20)
        finally:
            signal.raise_signal(signal.SIGTERM)  # the same request still
            cleaned.append(True)

    assert status_of(main) == 143
    assert cleaned and not exits


def test_cleaning_up_is_not_disturbed_by_what_was_swallowed_before():
    cleaned = []

    def main():
        with signals.held():
            with signals.released():
                in_a_finalizer(lambda: signal.raise_signal(signal.SIGTERM))
            try:
                with signals.released():
                    pass
            finally:
                time.sleep(5 * signals._MOMENT)  # it comes again meanwhile
                cleaned.append(True)

    assert status_of(main) == 143
    assert cleaned


def test_what_else_a_finalizer_raises_is_still_printed(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(unraisable.exc_type))
    with signals.heeded():
        in_a_finalizer(lambda: 1 // 0)
    assert seen == [ZeroDivisionError]


def test_bad_input_within_a_held_block_is_still_bad_input(capsys):
    def main():
        with signals.held():
            raise UserError("no such file")

    assert status_of(main) == 2
    assert capsys.readouterr().err == "error: no such file\n"


# fmt: off
ENDLESS = [
    "--size", "10", "--frames", "130", "--steps", "1000000", "--batch-size", "8", "--log-every", "4", "--device", "cpu",
    "--precision", "fp32", "--enc-hidden-size", "16", "--dec-hidden-size", "16", "--res-hidden-size", "16",
    "--checkpoint-every", "1000000", "--no-score",
]
# fmt: on


def test_training_outlives_its_reader_and_saves_when_terminated(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "fastsep.train", "wave100", *ENDLESS, "--out", str(run)]
    heed = partial(signal.signal, signal.SIGTERM, signal.SIG_DFL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed) as process:
        try:
            process.stdout.close()
            process.stderr.close()
            rows = 0
            for _ in range(1200):
                time.sleep(0.05)
                rows = (run / "log.csv").read_text().count("\n") if (run / "log.csv").exists() else 0
                if rows > 4 or process.poll() is not None:
                    break
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 143
        finally:
            process.kill()
    assert newest_checkpoint(run).step >= 4 * (rows - 1)
