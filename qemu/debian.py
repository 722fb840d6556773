# SPDX-License-Identifier: GPL-2.0-or-later
"""Files from the Debian mirror that the machine's own apt configuration names.

In:  /etc/apt/sources.list and sources.list.d (both formats), rows of qemu/versions.
Out: downloaded files, checked by a pinned SHA-256 or by the suite's signed index.
Invariants: the system's apt lists and state are never touched (private directories
are used); nothing is trusted that neither a pinned hash nor the archive key vouches
for; downloads go through apt's own transport, so its proxies and mirrors apply.
"""
import glob
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
APT_HELPER = "/usr/lib/apt/apt-helper"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Unavailable(Exception):
    """What was tried and why none of it worked; the text is for the user."""


def cache_root():
    named = os.environ.get("BLOCK_DRBD_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "block-drbd"


def say(text):
    print(text, file=sys.stderr, flush=True)


def _one_line_entries(text):
    for line in text.splitlines():
        words = re.sub(r"\[[^]]*\]", "", line.split("#")[0]).split()
        if len(words) >= 3 and words[0] in ("deb", "deb-src"):
            yield words[1], [words[2]]


def _deb822_entries(text):
    for stanza in re.split(r"\n\s*\n", text):
        fields, key = {}, None
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in " \t" and key:
                fields[key] += " " + line.strip()
            elif ":" in line:
                key, value = line.split(":", 1)
                key = key.strip().lower()
                fields[key] = value.strip()
        if fields.get("enabled", "yes").lower() not in ("no", "false", "0"):
            for uri in fields.get("uris", "").split():
                yield uri, fields.get("suites", "").split()


def _expand_mirror_list(uri):
    match = re.match(r"mirror\+file:(/.*)", uri)
    if not match:
        return [uri]
    with open(match.group(1), encoding="utf-8") as listing:
        return [line.split()[0] for line in listing if line.strip() and line[0] != "#"]


def mirrors(apt_dir="/etc/apt"):
    """Base addresses of the configured archives, the Debian main archive first."""
    entries = []
    for name in [f"{apt_dir}/sources.list", *sorted(glob.glob(f"{apt_dir}/sources.list.d/*"))]:
        if not name.endswith((".list", ".sources")) or not os.path.isfile(name):
            continue
        text = Path(name).read_text(encoding="utf-8", errors="replace")
        parse = _deb822_entries if name.endswith(".sources") else _one_line_entries
        entries += list(parse(text))
    known = {"stable", "testing", "unstable", "sid", "oldstable", "bookworm", "trixie", "forky"}
    ranked = sorted(entries, key=lambda entry: not known & set(entry[1]))
    found = []
    for uri, _suites in ranked:
        for base in _expand_mirror_list(uri):
            if base.rstrip("/") not in found:
                found.append(base.rstrip("/"))
    if not found:
        raise Unavailable(f"no package archive is configured below {apt_dir}: add a Debian "
                          "mirror to its sources, or name your own tree with QEMU_SOURCE=")
    return found


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def fetch_pool(path, sha256, directory):
    """pool/main/<path> into directory, from the first mirror that has it."""
    target = Path(directory) / os.path.basename(path)
    if target.exists() and sha256_of(target) == sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    reasons = []
    for base in mirrors():
        uri = f"{base}/pool/main/{quote(path)}"
        run = subprocess.run([APT_HELPER, "-o", "APT::Sandbox::User=", "download-file", uri,
                              str(part), f"SHA256:{sha256}"],
                             text=True, capture_output=True, check=False)
        if run.returncode == 0 and part.exists() and sha256_of(part) == sha256:
            part.replace(target)
            return target
        part.unlink(missing_ok=True)
        reasons.append(f"  {uri}: {(run.stderr or run.stdout).strip() or 'not there'}")
    raise Unavailable("\n".join(reasons))


def _private_apt(suite, work):
    for sub in ("lists/partial", "cache/archives/partial"):
        (work / sub).mkdir(parents=True, exist_ok=True)
    sources = work / "private.sources"
    sources.write_text(f"Types: deb-src\nURIs: {mirrors()[0]}\nSuites: {suite}\n"
                       f"Components: main\nSigned-By: {KEYRING}\n", encoding="utf-8")
    return ["-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=/dev/null",
            "-o", f"Dir::State::lists={work}/lists", "-o", f"Dir::Cache={work}/cache",
            "-o", "APT::Sandbox::User="]


def fetch_source_by_index(package, suite, prefix, directory):
    """The newest <prefix>* of a source package in a suite's signed index; returns its .dsc."""
    with tempfile.TemporaryDirectory(prefix="block-drbd-apt-") as work:
        options = _private_apt(suite, Path(work))
        update = subprocess.run(["apt-get", *options, "update"],
                                text=True, capture_output=True, check=False)
        if update.returncode != 0:
            raise Unavailable(f"  index of {suite}: {update.stderr.strip()}")
        shown = subprocess.run(["apt-cache", *options, "showsrc", "--only-source", package],
                               text=True, capture_output=True, check=False).stdout
        listed = re.findall(r"^Version: (.*)$", shown, re.M)
        for version in reversed([v for v in listed if v.startswith(prefix)]):
            Path(directory).mkdir(parents=True, exist_ok=True)
            run = subprocess.run(["apt-get", *options, "source", "--download-only", "--only-source",
                                  f"{package}={version}"], cwd=directory,
                                 text=True, capture_output=True, check=False)
            name = f"{package}_{version.split(':', 1)[-1]}.dsc"
            if run.returncode == 0 and (Path(directory) / name).exists():
                return Path(directory) / name
    raise Unavailable(f"  index of {suite}: no {package} {prefix}* that can be downloaded")


def rows(name):
    with open(HERE / "versions", encoding="utf-8") as table:
        split = [line.split() for line in table if line.strip() and not line.startswith("#")]
    return [row[1:] for row in split if row[0] == name]


def first_that_works(name, attempt):
    """attempt(row) for each row of qemu/versions called name until one succeeds."""
    reasons = []
    for row in rows(name):
        try:
            return attempt(row)
        except Unavailable as reason:
            say(f"qemu/fetch: {row[1]} cannot be had, trying the next row of qemu/versions")
            reasons.append(str(reason))
    raise Unavailable("\n".join(reasons) or f"  qemu/versions has no row called {name}")
