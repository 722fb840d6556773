# SPDX-License-Identifier: GPL-2.0-or-later
"""The numbers of replication.py as a table and a picture for docs/PERFORMANCE.md.

In: its dictionary of results.  Out: text, or the part between the two markers of
docs/PERFORMANCE.md and docs/replication.svg.  Nothing else of the page is touched.
"""

import html

BEGIN = "<!-- replication: made by tests/bench/replication.py --write -->"
END = "<!-- replication: end -->"
ORDER = ("bare", "mirror", "quorum", "A", "B", "C")
COLOURS = {"bare": "#9aa0a6", "mirror": "#d98c3f", "quorum": "#c2b04a", "A": "#9cc3e6", "B": "#5b9bd5",
           "C": "#1f5fa8"}
BAR, GAP, HEIGHT, LEFT = 22, 46, 170, 46


def table(found):
    """Rows by place, delay and load; a line of ratios against the mirror for C."""
    results, lines = found["results"], []
    groups = {}
    for key, value in results.items():
        place, delay, title, variant = key.split("|")
        groups.setdefault((place, delay), {}).setdefault(title, {})[variant] = value
    for (place, delay), rows in groups.items():
        net = f", {int(delay) / 1000:g} ms delay each way" if delay != "0" else ""
        lines += [f"\n**{place}{net}**\n",
                  "| load | variant | IOPS | MiB/s | median µs | 99 % µs | CPU s/GiB | CPU µs a write | of mirror |",
                  "|---|---|---|---|---|---|---|---|---|"]
        for title, variants in rows.items():
            mirror = variants.get("mirror")
            for variant in ORDER:
                if variant not in variants:
                    continue
                v = variants[variant]
                ratio = f"{v['iops'] / mirror['iops']:.2f}" if mirror else ""
                lines.append(f"| {title} | {variant} | {v['iops']:,.0f} | {v['mib']:,.1f} | {v['p50']:,.0f} | "
                             f"{v['p99']:,.0f} | {v['cpu_gib']:.2f} | {v['cpu_us']:.1f} | "
                             f"{'**' + ratio + '**' if variant == 'C' and ratio else ratio} |")
    if found["syncs"]:
        lines += ["\n| first sync | mirror job | ours |", "|---|---|---|"]
        lines += [f"| {title} | {mirror:.2f} s | {ours:.2f} s |" for title, (mirror, ours) in found["syncs"].items()]
    return "\n".join(lines)


def picture(found):
    """IOPS of every variant relative to the mirror, a panel for each place and delay."""
    panels = {}
    for key, value in found["results"].items():
        place, delay, title, variant = key.split("|")
        panels.setdefault((place, delay), {}).setdefault(title, {})[variant] = value["iops"]
    widest = max((len(rows) for rows in panels.values()), default=1)
    width = LEFT + widest * (len(ORDER) * BAR + GAP) + 20
    parts, top = [], 40
    for (place, delay), rows in panels.items():
        parts += panel(f"{place}" + (f", {int(delay) / 1000:g} ms each way" if delay != "0" else ""), rows, top)
        top += HEIGHT + 80
    legend = "".join(f'<rect x="{LEFT + n * 110}" y="10" width="14" height="14" fill="{COLOURS[v]}"/>'
                     f'<text x="{LEFT + n * 110 + 20}" y="22">{"ours, " + v if len(v) == 1 else v}</text>'
                     for n, v in enumerate(ORDER))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" font-family="sans-serif" '
            f'font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{legend}\n'
            + "\n".join(parts) + "\n</svg>\n")


def panel(title, rows, top):
    highest = max((value / variants["mirror"] for variants in rows.values() if variants.get("mirror")
                   for value in variants.values()), default=1.0)
    highest = max(highest, 1.5)
    base = top + HEIGHT
    one = base - (HEIGHT - 30) / highest
    parts = [f'<text x="{LEFT}" y="{top + 14}" font-weight="bold">{html.escape(title)}: writes per second, '
             'mirror = 1</text>',
             f'<line x1="{LEFT}" x2="{LEFT + len(rows) * (len(ORDER) * BAR + GAP)}" y1="{one:.0f}" y2="{one:.0f}" '
             'stroke="#888" stroke-dasharray="4 3"/>', f'<text x="8" y="{one + 4:.0f}">1.0</text>']
    for row, (name, variants) in enumerate(rows.items()):
        left = LEFT + row * (len(ORDER) * BAR + GAP)
        mirror = variants.get("mirror")
        for n, variant in enumerate(v for v in ORDER if v in variants and mirror):
            ratio = variants[variant] / mirror
            tall = (HEIGHT - 30) * ratio / highest
            parts.append(f'<rect x="{left + n * BAR}" y="{base - tall:.0f}" width="{BAR - 3}" height="{tall:.0f}" '
                         f'fill="{COLOURS[variant]}"/><text x="{left + n * BAR}" y="{base - tall - 3:.0f}" '
                         f'font-size="9">{ratio:.2f}</text>')
        parts.append(f'<text x="{left}" y="{base + 16}">{html.escape(name)}</text>')
    return parts


def write_report(found, docs=None):
    head = (f"{found['rounds']} rounds of {found['seconds']:g} s a row, medians; {found['machine']}, load average "
            f"{found['load']:.1f} at the end; near and far daemon, relay and fio on the same machine.\n")
    text = head + table(found) + "\n"
    if docs is not None:
        (docs / "replication.svg").write_text(picture(found), encoding="utf-8")
        page = docs / "PERFORMANCE.md"
        old = page.read_text(encoding="utf-8")
        made = f"{BEGIN}\n\n![Writes per second relative to the mirror](replication.svg)\n\n{text}\n{END}"
        if BEGIN in old and END in old:
            begin, rest = old.split(BEGIN, 1)
            new = begin + made + rest.split(END, 1)[1]
        else:
            new = old.rstrip("\n") + "\n\n## Replication\n\n" + made + "\n"
        page.write_text(new, encoding="utf-8")
    return text
