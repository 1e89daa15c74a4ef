"""The command as a whole: what it says, how fast it can say it, and how it ends when something escapes a verb."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from motherlode import cli
from motherlode.errors import DivergedError

from .conftest import Lode, assert_one_clear_error

VERBS = ["doctor", "prepare", "init", "estimate", "train", "evaluate", "generate", "export", "plan"]


def test_help_lists_the_verbs_in_the_order_of_the_work(lode: Lode) -> None:
    text = lode("--help").stdout
    places = [text.index(f"│ {verb} ") for verb in VERBS]
    assert places == sorted(places)
    assert "lode prepare photos/" in text


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself_with_examples(lode: Lode, verb: str) -> None:
    result = lode(verb, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"lode {verb}" in result.stdout.partition("Examples:")[2]


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; from motherlode.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numba', 'pyarrow', 'scipy', 'pydantic', 'numpy', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_version(lode: Lode) -> None:
    from motherlode import __version__

    assert lode("--version").stdout == f"motherlode {__version__}\n"


def test_a_misspelt_verb_is_put_right(lode: Lode) -> None:
    result = lode("trian")
    assert result.exit_code == 2
    assert "Did you mean 'train'" in result.output


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m motherlode.cli --help | head -1; exit ${{PIPESTATUS[0]}}"
    process = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in process.stderr


def breaks(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make the verb `doctor` raise."""

    def fail() -> None:
        raise error

    monkeypatch.setattr("motherlode.cli.doctor._python", fail)


def test_a_fault_of_our_own_keeps_its_traceback_in_a_file(lode: Lode, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch, KeyError("inner [bracket]"))
    result = lode("doctor")
    assert result.exit_code == 1
    assert "fault in Motherlode" in result.stderr
    assert "inner [bracket]" in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if "traceback:" in line]
    path = Path(line.partition("traceback:")[2].strip())
    assert "Traceback (most recent call last)" in path.read_text()
    path.unlink()


def test_debug_shows_the_traceback_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch, DivergedError("the loss must be finite", "nan", "lower the rate"))
    for words in (["--debug", "doctor"], ["doctor", "--debug"]):
        with pytest.raises(DivergedError):
            cli.main(words)


def test_errors_of_the_operating_system_are_explained(lode: Lode, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "/tmp/somewhere/file"))
    assert_one_clear_error(lode("doctor"), "room", "/tmp/somewhere/file", "free some space")


def test_an_interrupt_says_how_to_go_on(lode: Lode, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch, KeyboardInterrupt())
    result = lode("doctor")
    assert result.exit_code == 130
    assert "stopped" in result.stderr


def test_square_brackets_survive_in_messages(lode: Lode, monkeypatch: pytest.MonkeyPatch) -> None:
    from motherlode.errors import MissingExtraError

    breaks(monkeypatch, MissingExtraError("this", "features"))
    assert_one_clear_error(lode("doctor"), "pip install 'motherlode[features]'")
    assert "<run>/export" in lode("export", "--help").stdout


def test_doctor_measures_this_machine(lode: Lode, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motherlode.cli.doctor._GEMM_SEC", 0.01)
    monkeypatch.setattr("motherlode.cli.doctor._GEMM_SIDE", 64)
    monkeypatch.setattr("motherlode.cli.doctor._PROBE_BYTES", 1 << 16)
    text = lode("doctor").stdout
    for word in ("cores", "memory", "torch", "bf16", "GFLOP/s", "free", "motherlode[" if "no " in text else "extra"):
        assert word in text
    assert list(here.iterdir()) == []
    assert_one_clear_error(lode("doctor", "--folder", "nowhere"), "must exist", "nowhere")


def test_the_advice_follows_the_figures() -> None:
    from motherlode.cli.doctor import advice

    assert "4.0x" in advice({("cpu", "fp32"): 100.0, ("cpu", "bf16"): 400.0})
    assert "stay with fp32" in advice({("cpu", "fp32"): 100.0, ("cpu", "bf16"): 90.0})
    assert "on cuda" in advice(
        {("cpu", "fp32"): 1.0, ("cpu", "bf16"): 1.0, ("cuda", "fp32"): 9.0, ("cuda", "bf16"): 99.0}
    )


def test_what_a_stream_cannot_show_is_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.yaml")
    words = [sys.executable, "-m", "motherlode.cli", "init", "--out", name]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("\\u2713 caf\\udce9.yaml")


def test_a_full_disk_that_names_no_file_and_a_traceback_that_cannot_be_kept(
    lode: Lode, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("motherlode.recipe.Recipe.load", full)
    assert_one_clear_error(lode("estimate", "a.yaml"), "disk must have room", "MB free", "TMPDIR")

    def fault(*_: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("motherlode.recipe.Recipe.load", fault)
    monkeypatch.setattr("motherlode.cli.tempfile.NamedTemporaryFile", full)
    result = lode("estimate", "a.yaml")
    assert result.exit_code == 1
    assert "traceback: above" in result.stderr
