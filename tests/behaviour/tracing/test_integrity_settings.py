"""The settings of lines that prove themselves: what they take, what a bad one does, and that no key is shown."""

from __future__ import annotations

import json
import os

import pytest

import moa_middleware as moa

SECRET = b"5f4dcc3b5aa765d61d8327deb882cf99"


@moa.reference
def ask(text):
    return text


@pytest.fixture
def key(tmp_path):
    """Return a key file that only its owner can read."""
    path = tmp_path / "a key"
    path.touch(mode=0o600)
    path.write_bytes(SECRET)
    return path


def integrity_of(trace_dir):
    (line,) = (trace_dir / "unknown-session.jsonl").read_bytes().splitlines()
    return json.loads(line)["writer"].get("integrity")


@pytest.mark.parametrize("value", ["digest", " DIGEST\n", '"digest"'])
def test_the_environment_turns_it_on(value, trace_dir, monkeypatch):
    """As each setting is written."""
    monkeypatch.setenv("MOA_INTEGRITY", value)
    ask("hi")
    assert "digest" == integrity_of(trace_dir)


def test_it_is_off_by_default(trace_dir):
    """A key file alone is not a wish."""
    moa.configure(integrity_key_file="/does/not/exist")
    ask("hi")
    assert None is integrity_of(trace_dir)


def test_an_hmac_takes_its_key_from_the_file_of_the_environment(trace_dir, key, monkeypatch, caplog):
    """With `~` and variables; nothing is logged."""
    monkeypatch.setenv("HOME", str(key.parent))
    monkeypatch.setenv("NAME_OF_IT", "a key")
    monkeypatch.setenv("MOA_INTEGRITY", "hmac")
    monkeypatch.setenv("MOA_INTEGRITY_KEY_FILE", "~/$NAME_OF_IT")
    ask("hi")
    assert ("hmac", "") == (integrity_of(trace_dir), caplog.text)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "the key file does not exist; make one with: head -c 32 /dev/urandom > FILE"),
        (b"", "the key file is empty; make one"),
        (b"k" * 66_000, "the key file has more than 65,536 bytes; make one"),
    ],
)
def test_a_key_file_that_cannot_be_used_keeps_tracing_off(data, says, trace_dir, monkeypatch, caplog):
    """A line without what it was to prove is not written; the call notices nothing, and the value is not shown."""
    path = trace_dir.parent / SECRET.decode()
    if data is not None:
        path.write_bytes(data)
    monkeypatch.setenv("MOA_INTEGRITY", "hmac")
    monkeypatch.setenv("MOA_INTEGRITY_KEY_FILE", str(path))
    assert "hi" == ask("hi")
    assert not trace_dir.exists()
    assert not moa.status().saving
    assert f"moa.tracing_off reason=MOA_INTEGRITY_KEY_FILE: {says}" in caplog.text
    assert SECRET.decode() not in caplog.text


def test_an_hmac_without_a_key_file_keeps_tracing_off(trace_dir, monkeypatch, caplog):
    """It names the variable that is missing."""
    monkeypatch.setenv("MOA_INTEGRITY", "hmac")
    ask("hi")
    assert not trace_dir.exists()
    assert "MOA_INTEGRITY_KEY_FILE: MOA_INTEGRITY=hmac needs the file of a key" in caplog.text


def test_an_unknown_kind_keeps_tracing_off(trace_dir, monkeypatch, caplog):
    """It names what there is."""
    monkeypatch.setenv("MOA_INTEGRITY", "sha512")
    ask("hi")
    assert not trace_dir.exists()
    assert "MOA_INTEGRITY: Input should be 'off', 'digest' or 'hmac' (got 'sha512')" in caplog.text


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_can_read_is_used_and_named(mode, trace_dir, key, caplog):
    """Once; by its variable, not by its path."""
    key.chmod(mode)
    moa.configure(integrity="hmac", integrity_key_file=key)
    ask("hi")
    assert "hmac" == integrity_of(trace_dir)
    assert 1 == caplog.text.count("moa.key_file_open name=MOA_INTEGRITY_KEY_FILE fix=chmod 600")
    assert str(key) not in caplog.text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"integrity": "md5"}, "configure(integrity='md5'): Input should be 'off', 'digest' or 'hmac'"),
        ({"integrity": "hmac"}, "configure(integrity='hmac') needs integrity_key_file=… too: the file of a key"),
        (
            {"integrity": "hmac", "integrity_key_file": SECRET.decode()},
            "configure(integrity_key_file=…): the key file does not exist; make one with: head -c 32 /dev/urandom > FILE",
        ),
        ({"integrity_key_file": ""}, "configure(integrity_key_file=…): a path is needed, this is empty"),
        ({"integrity_key_file": "$NO_SUCH/key"}, "configure(integrity_key_file=…): $NO_SUCH is not set"),
    ],
)
def test_a_bad_argument_is_a_clear_error(given, says):
    """It names the argument, and never shows what may be the key itself."""
    with pytest.raises(moa.SettingsError) as caught:
        moa.configure(**given)
    assert says == str(caught.value)


def test_a_key_that_cannot_be_read_is_a_clear_error(key):
    """As another user's file."""
    if not os.geteuid():
        pytest.skip("the superuser reads everything")
    key.chmod(0)
    with pytest.raises(moa.SettingsError, match="the key file cannot be read: Permission denied"):
        moa.configure(integrity="hmac", integrity_key_file=key)
