# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu/overlay: anchors, repeated runs, and that the source tree stays as it was."""
import subprocess

import pytest
from qemu_scripts import OVERLAY, load, make_project, make_source, snapshot

INSERTIONS = load(OVERLAY).INSERTIONS


@pytest.fixture
def trees(tmp_path):
    return make_source(tmp_path / "source"), make_project(tmp_path / "project"), tmp_path / "tree"


def run(source, project, tree, mirror="copy"):
    return subprocess.run(["/usr/bin/python3", str(OVERLAY), "--source", source, "--project", project,
                           "--tree", tree, "--mirror", mirror],
                          text=True, capture_output=True, check=False)


def shown(anchor):
    return anchor.replace("\n", "\\n")


@pytest.mark.parametrize("name, where, anchor, ours", INSERTIONS)
def test_every_insertion_lands_at_its_anchor(trees, name, where, anchor, ours):
    source, project, tree = trees
    assert run(source, project, tree).returncode == 0
    text = (tree / name).read_text()
    addition = (project / ours).read_text().replace("@QTESTS@", "'drbd-test'")
    assert (anchor + addition if where == "after" else addition + anchor) in text


@pytest.mark.parametrize("name, where, anchor, ours", INSERTIONS)
def test_missing_anchor_names_file_and_anchor(trees, name, where, anchor, ours):
    source, project, tree = trees
    path = source / name
    path.write_text(path.read_text().replace(anchor, "something else\n"))
    result = run(source, project, tree)
    assert result.returncode == 1
    assert f'{name}: the anchor "{shown(anchor)}" is missing' in result.stderr
    assert "INSERTIONS of qemu/overlay" in result.stderr
    assert not tree.exists(), "a tree that cannot be completed must not be begun"


@pytest.mark.parametrize("name, where, anchor, ours", INSERTIONS)
def test_doubled_anchor_names_file_and_anchor(trees, name, where, anchor, ours):
    source, project, tree = trees
    path = source / name
    path.write_text(path.read_text() + anchor)
    result = run(source, project, tree)
    assert result.returncode == 1
    assert f'{name}: the anchor "{shown(anchor)}" occurs 2 times' in result.stderr


@pytest.mark.parametrize("mirror", ["copy", "hardlink"])
def test_second_run_changes_nothing(trees, mirror):
    source, project, tree = trees
    assert run(source, project, tree, mirror).stdout
    before = snapshot(tree)
    again = run(source, project, tree, mirror)
    assert (again.returncode, again.stdout) == (0, "")
    assert snapshot(tree) == before


@pytest.mark.parametrize("mirror", ["copy", "hardlink"])
def test_source_is_not_modified(trees, mirror):
    source, project, tree = trees
    before = snapshot(source)
    assert run(source, project, tree, mirror).returncode == 0
    (project / "qmp/block-core-drbd.json").write_text("other block options\n")
    assert run(source, project, tree, mirror).returncode == 0
    assert snapshot(source) == before
    assert (tree / "link").read_text() == "10.0.99\n"
    assert (tree / "configure").stat().st_mode & 0o111


def test_only_the_changed_file_is_written(trees):
    source, project, tree = trees
    run(source, project, tree)
    (project / "block-drbd/core/core.cc").write_text("int core = 1;\n")
    assert run(source, project, tree).stdout.split() == ["subprojects/block-drbd/block-drbd/core/core.cc"]
    (project / "qmp/qom-drbd.json").write_text("other properties\n")
    assert run(source, project, tree).stdout.split() == ["qapi/qom.json"]


def test_change_in_the_users_tree_arrives(trees):
    source, project, tree = trees
    run(source, project, tree)
    (source / "block/io.c").write_text("int io = 1;\n")
    assert run(source, project, tree).returncode == 0
    assert (tree / "block/io.c").read_text() == "int io = 1;\n"


def test_file_that_we_dropped_leaves_the_tree(trees):
    source, project, tree = trees
    (project / "block-drbd/shim/extra.c").write_text("int extra;\n")
    run(source, project, tree)
    assert "'extra.c'," in (tree / "block/drbd/meson.build").read_text()
    (project / "block-drbd/shim/extra.c").unlink()
    run(source, project, tree)
    assert not (tree / "block/drbd/extra.c").exists()
    assert "extra.c" not in (tree / "block/drbd/meson.build").read_text()


def test_new_qtest_changes_the_build_file(trees):
    source, project, tree = trees
    run(source, project, tree)
    (project / "tests/qtest/drbd-other-test.c").write_text("int other;\n")
    assert "tests/qtest/meson.build" in run(source, project, tree).stdout.split()
    assert "['drbd-other-test', 'drbd-test']" in (tree / "tests/qtest/meson.build").read_text()


def test_tools_and_shim_stay_out_of_the_subproject(trees):
    source, project, tree = trees
    run(source, project, tree)
    inside = tree / "subprojects/block-drbd"
    assert (inside / "metafmt/superblock.cc").is_file()
    assert not (inside / "metafmt/tool").exists()
    assert not (inside / "block-drbd/shim").exists()


def test_tree_that_is_not_unmodified_is_refused(trees):
    source, project, tree = trees
    (source / "block/drbd").mkdir()
    (source / "block/drbd/driver.c").write_text("int driver;\n")
    result = run(source, project, tree)
    assert result.returncode == 1
    assert "block/drbd/driver.c: this QEMU tree has a file of that name already" in result.stderr


def test_tree_inside_the_source_is_refused(trees):
    source, project, _tree = trees
    for place in (source, source / "changed"):
        result = run(source, project, place)
        assert result.returncode == 1
        assert "must stay unmodified" in result.stderr


def test_project_without_shim_is_refused(trees):
    source, project, tree = trees
    (project / "block-drbd/shim/driver.c").unlink()
    result = run(source, project, tree)
    assert result.returncode == 1
    assert "block-drbd/shim: no C file" in result.stderr
