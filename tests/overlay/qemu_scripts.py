# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of qemu/ share: loading its scripts, and small stand-in trees.

A stand-in QEMU tree holds only the files that get lines of ours, each made of its
anchors; a stand-in project holds only what qemu/overlay reads from the repository.
"""
import importlib.machinery
import importlib.util
import shutil
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
OVERLAY = REPOSITORY / "qemu/overlay"
FETCH = REPOSITORY / "qemu/fetch"


def load(path):
    sys.path.insert(0, str(REPOSITORY / "qemu"))
    loader = importlib.machinery.SourceFileLoader(path.name.replace(".", "_"), str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def make_source(folder):
    """A stand-in for an unmodified QEMU tree."""
    for name, _where, anchor, _ours in load(OVERLAY).INSERTIONS:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        old = path.read_text() if path.exists() else "first line\n"
        path.write_text(f"{old}{anchor}last line\n")
    (folder / "VERSION").write_text("10.0.99\n")
    (folder / "block/io.c").write_text("int io;\n")
    (folder / "configure").write_text("#!/bin/sh\n")
    (folder / "configure").chmod(0o755)
    (folder / "link").symlink_to("VERSION")
    return folder


def make_project(folder):
    """A stand-in for our repository, with one shim file and one core file."""
    shutil.copytree(REPOSITORY / "qemu/insert", folder / "qemu/insert")
    for name, text in (("qmp/block-core-drbd.json", "block options\n"),
                       ("qmp/qom-drbd.json", "object properties\n"),
                       ("qmp/drbd.json", "commands\n"),
                       ("block-drbd/shim/driver.c", "int driver;\n"),
                       ("block-drbd/shim/driver.h", "extern int driver;\n"),
                       ("block-drbd/core/core.cc", "int core;\n"),
                       ("metafmt/superblock.cc", "int superblock;\n"),
                       ("metafmt/tool/main.cc", "int main() {}\n"),
                       ("tests/qtest/drbd-test.c", "int test;\n"),
                       ("meson.build", "project('block-drbd')\n"),
                       ("meson_options.txt", "# none\n")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def snapshot(folder):
    """Everything about a tree that a build could notice: kind, content, mode, time, links."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (content, state.st_mode, state.st_mtime_ns)
    return found
