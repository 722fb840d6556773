# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu/fetch and qemu/debian.py: QEMU_SOURCE, the mirror's address, the fall-through."""
import os
import subprocess

import pytest
from qemu_scripts import FETCH, REPOSITORY, load, make_source, snapshot

debian = load(REPOSITORY / "qemu/debian.py")


def run_fetch(tmp_path, **environment):
    return subprocess.run([str(FETCH)], text=True, capture_output=True, check=False,
                          env={**os.environ, "BLOCK_DRBD_CACHE": str(tmp_path / "cache"), **environment})


def test_own_tree_is_used_where_it_is(tmp_path):
    source = make_source(tmp_path / "own")
    before = snapshot(source)
    result = run_fetch(tmp_path, QEMU_SOURCE=str(source))
    assert (result.returncode, result.stdout.strip()) == (0, str(source))
    assert snapshot(source) == before


def test_own_tree_that_is_none_is_refused(tmp_path):
    result = run_fetch(tmp_path, QEMU_SOURCE=str(tmp_path))
    assert result.returncode == 3
    assert "is not a QEMU source tree" in result.stderr


def test_mirror_is_found_in_both_formats(tmp_path):
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text("# deb http://off.invalid/debian bookworm main\n"
                                           "deb [arch=amd64] http://one.invalid/debian/ bookworm main\n")
    (parts / "other.list").write_text("deb http://other.invalid/apt nodistro main\n")
    (parts / "debian.sources").write_text("Types: deb\nURIs: http://two.invalid/debian\n"
                                          "Suites: trixie\n trixie-updates\nComponents: main\n\n"
                                          "Types: deb\nEnabled: no\nURIs: http://off.invalid/debian\n"
                                          "Suites: sid\n")
    assert debian.mirrors(str(tmp_path)) == ["http://one.invalid/debian", "http://two.invalid/debian",
                                             "http://other.invalid/apt"]


def test_mirror_list_in_a_file(tmp_path):
    listing = tmp_path / "mirrors"
    listing.write_text("# near\nhttp://near.invalid/debian priority:1\n")
    (tmp_path / "sources.list").write_text(f"deb mirror+file:{listing} trixie main\n")
    assert debian.mirrors(str(tmp_path)) == ["http://near.invalid/debian"]


def test_no_mirror_says_what_to_do(tmp_path):
    with pytest.raises(debian.Unavailable, match="QEMU_SOURCE="):
        debian.mirrors(str(tmp_path))


def test_next_row_when_one_is_gone(monkeypatch):
    monkeypatch.setattr(debian, "rows", lambda name: [["pool", "gone", "0"], ["pool", "there", "1"]])

    def attempt(row):
        if row[1] == "gone":
            raise debian.Unavailable("  gone: not there")
        return row[1]
    assert debian.first_that_works("anything", attempt) == "there"


def test_all_rows_gone_gives_every_reason(monkeypatch):
    monkeypatch.setattr(debian, "rows", lambda name: [["pool", "a", "0"], ["pool", "b", "1"]])

    def attempt(row):
        raise debian.Unavailable(f"  {row[1]}: not there")
    with pytest.raises(debian.Unavailable, match="a: not there\n  b: not there"):
        debian.first_that_works("anything", attempt)


def test_file_with_another_hash_is_not_taken(tmp_path, monkeypatch):
    helper = tmp_path / "helper"
    # Stands for a transport that delivers something else and claims success.
    helper.write_text("#!/bin/sh\necho other > \"$5\"\n")
    helper.chmod(0o755)
    monkeypatch.setattr(debian, "APT_HELPER", str(helper))
    monkeypatch.setattr(debian, "mirrors", lambda: ["http://one.invalid/debian"])
    with pytest.raises(debian.Unavailable, match="one.invalid/debian/pool/main/q/file"):
        debian.fetch_pool("q/file", "0" * 64, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_every_row_of_the_table_is_well_formed():
    for name in ("qemu-10.0", "qemu-10.2", "meson"):
        assert debian.rows(name)
        for row in debian.rows(name):
            assert row[0] in ("pool", "index") and len(row) == 3
            assert row[0] == "index" or len(row[2]) == 64
