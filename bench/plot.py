#!/usr/bin/env python3
"""Draws what compare.py has written: bench/plot.py result.json OUT makes OUT_ratios.svg (how many times as fast as the
peers) and, when curves were measured, OUT_curves.svg (cost against prompt length, context and threads). Only Python's
library is needed. The pictures follow the reader's light or dark background."""
import json
import math
import statistics
import sys
from xml.sax.saxutils import escape

STYLE = """
text { font: 13px system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.note { fill: #59636e; font-size: 12px }
.page { fill: #ffffff }
.grid { stroke: #d1d9e0; stroke-width: 1; fill: none }
.axis { stroke: #59636e; stroke-width: 1; fill: none }
.line { fill: none; stroke-width: 2 }
.c0.fill { fill: #1f6feb } .c1.fill { fill: #bc4c00 } .c2.fill { fill: #1a7f37 } .c3.fill { fill: #8250df } .c4.fill { fill: #59636e }
.c0.line { stroke: #1f6feb } .c1.line { stroke: #bc4c00 } .c2.line { stroke: #1a7f37 } .c3.line { stroke: #8250df } .c4.line { stroke: #59636e }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .note { fill: #9198a1 } .page { fill: #0d1117 } .grid { stroke: #30363d } .axis { stroke: #9198a1 }
  .c0.fill { fill: #58a6ff } .c1.fill { fill: #f0883e } .c2.fill { fill: #3fb950 } .c3.fill { fill: #bc8cff } .c4.fill { fill: #9198a1 }
  .c0.line { stroke: #58a6ff } .c1.line { stroke: #f0883e } .c2.line { stroke: #3fb950 } .c3.line { stroke: #bc8cff } .c4.line { stroke: #9198a1 }
}
"""


class Drawing:
    def __init__(self, width, height):
        self.width, self.height = width, height
        self.parts = [f'<rect class="page" width="{width}" height="{height}"/>']

    def text(self, x, y, words, kind="", anchor="start"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>')

    def line(self, x1, y1, x2, y2, kind):
        self.parts.append(f'<path class="{kind}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>')

    def curve(self, points, kind):
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.parts.append(f'<path class="line {kind}" d="M{path}"/>')
        for x, y in points:
            self.parts.append(f'<circle class="fill {kind}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>')

    def bar(self, x, y, width, height, kind):
        self.parts.append(f'<rect class="fill {kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" rx="2"/>')

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
                       f'viewBox="0 0 {self.width} {self.height}"><style>{STYLE}</style>\n' + "\n".join(self.parts) +
                       "\n</svg>\n")


def machine_of(result):
    return f"{result['processor']}, {result['threads']} threads, {result['target']} kernels, {result['precision']} precision"


def step_of(largest, count=5):
    """A round distance between lines, so that there are about `count`."""
    rough = largest / count
    power = 10 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough)


def number(value):
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def draw_ratios(result, path):
    order = ("decode", "prefill", "picture", "first")
    rows = sorted((r for r in result["rows"] if r["ratio"]),
                  key=lambda r: (not r["peer"].startswith("llama"), order.index(r["group"]),
                                 ("q4", "q8", "bf16", "f16", "f32").index(r["format"])))
    if not rows:
        return
    left, right, top, pitch = 270, 190, 78, 22
    groups = len({(r["peer"].split()[0], r["group"]) for r in rows})
    d = Drawing(880, top + pitch * len(rows) + 10 * groups + 40)
    width = d.width - left - right
    largest = max(1.2, max(r["ratio"] for r in rows))
    d.text(16, 28, "How many times as fast: ocellus against llama.cpp and PyTorch", "title")
    d.text(16, 48, machine_of(result) + f"; medians of interleaved rounds; beside a bar ocellus : peer", "note")
    bottom = d.height - 36
    step = step_of(largest)
    for i in range(int(largest / step) + 1):
        x = left + width * i * step / largest
        d.line(x, top - 8, x, bottom, "grid")
        d.text(x, bottom + 16, f"{number(i * step)} ×", "note", "middle")
    y, before = top, None
    for r in rows:
        group = (r["peer"].split()[0], r["group"])
        if before is not None and group != before:
            y += 10
        before = group
        d.text(left - 8, y + 11, f"{r['format']}, {r['what']}", "", "end")
        d.bar(left, y, max(1.0, width * r["ratio"] / largest), 14, "c0" if r["peer"].startswith("llama") else "c1")
        ours, theirs = (statistics.median([v for v in r[who] if v]) for who in ("ocellus", "other"))
        x = left + width * r["ratio"] / largest + 6
        unit = "s" if r["unit"] == "s" else "tok/s"
        d.text(x, y + 11, f"{r['ratio']:.1f} ×")
        d.text(x + 52, y + 11, f"{number(ours)} : {number(theirs)} {unit}", "note")
        y += pitch
    one = left + width / largest
    d.line(one, top - 8, one, bottom, "axis")
    x = 16
    for kind, name in (("c0", "llama.cpp, Phi-2 in Q4_0, Q8_0, F16"), ("c1", "PyTorch, TinyGPT-V in bf16")):
        if any(r["peer"].startswith(name[:5]) for r in rows):
            d.bar(x, 56, 10, 10, kind)
            d.text(x + 15, 66, "beside " + name, "note")
            x += 290
    d.save(path)


class Panel:
    """Axes at a place of a drawing; x is spread by its logarithm."""

    def __init__(self, d, place, title, xs, largest, unit):
        self.d, (self.x, self.y, self.w, self.h) = d, place
        self.xs, self.largest = (math.log(min(xs)), math.log(max(xs) * 1.0001)), largest * 1.08
        d.text(self.x, self.y - 12, title)
        step = step_of(self.largest, 4)
        for i in range(int(self.largest / step) + 1):
            y = self.at(xs[0], i * step)[1]
            d.line(self.x, y, self.x + self.w, y, "axis" if i == 0 else "grid")
            d.text(self.x - 6, y + 4, number(i * step), "note", "end")
        last = -100.0
        for value in xs:
            x = self.at(value, 0)[0]
            if x - last > 30:
                d.text(x, self.y + self.h + 16, str(value), "note", "middle")
                last = x
        d.text(self.x + self.w, self.y + self.h + 32, unit, "note", "end")
        self.labels = []

    def at(self, x, y):
        low, high = self.xs
        return (self.x + self.w * (math.log(x) - low) / (high - low or 1), self.y + self.h * (1 - y / self.largest))

    def curve(self, points, name, kind):
        placed = [self.at(x, y) for x, y in points]
        self.d.curve(placed, kind)
        self.labels.append([placed[-1][1] + 4, placed[-1][0] + 8, name, kind])

    def finish(self):
        """Names at the ends of the curves, not over each other."""
        self.labels.sort()
        for i, label in enumerate(self.labels):
            if i > 0 and label[0] - self.labels[i - 1][0] < 14:
                label[0] = self.labels[i - 1][0] + 14
            self.d.text(label[1], label[0], label[2], f"fill {label[3]}")


def points_of(report, group, x, y):
    return sorted((x(f), y(f)) for f in report["figures"] if f["group"] == group and f["seconds"])


def draw_curves(result, path):
    reports = {}
    for report in result["curves"]:
        reports.setdefault(report["format"], report)
    if not reports:
        return
    d = Drawing(1060, 330)
    d.text(16, 28, "What a token costs", "title")
    d.text(16, 48, machine_of(result), "note")
    speed = lambda f: f["tokens"] / statistics.median(f["seconds"])
    for place, title, group, x, unit in (
            ((56, 96, 220, 170), "Prompt, tokens a second", "prefill", lambda f: f["tokens"], "tokens in the prompt"),
            ((390, 96, 220, 170), "Answer, tokens a second", "decode", lambda f: f["at"], "positions before")):
        curves = {form: points_of(r, group, x, speed) for form, r in reports.items()}
        curves = {form: points for form, points in curves.items() if points}
        if not curves:
            continue
        panel = Panel(d, place, title, sorted({p[0] for points in curves.values() for p in points}),
                      max(p[1] for points in curves.values() for p in points), unit)
        for i, (form, points) in enumerate(curves.items()):
            panel.curve(points, form, f"c{i}")
        panel.finish()
    first = next(iter(reports.values()))
    names = {}
    for f in first["figures"]:
        if f["group"] == "threads":
            names.setdefault(f["what"], []).append(f)
    curves = []
    for what, figures in names.items():
        amount = lambda f: (f["machine_amount"] or 1) / statistics.median(f["seconds"])
        one = next((f for f in figures if f["threads"] == 1), None)
        if one:
            name = {"prompt": "prompt", "answer at 100": "answer"}.get(what, what.replace("the machine: ", ""))
            curves.append((name.split(" of ")[0], sorted((f["threads"], amount(f) / amount(one)) for f in figures),
                           what.startswith("the machine")))
    if curves:
        panel = Panel(d, (724, 96, 190, 170), f"Times as fast as one thread, {first['format']}",
                      [p[0] for p in curves[0][1]], max(y for _, points, _ in curves for _, y in points), "threads")
        for i, (name, points, machine) in enumerate(curves):
            panel.curve(points, name, "c4" if machine else f"c{i}")
        panel.finish()
    d.save(path)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        result = json.load(file)
    draw_ratios(result, sys.argv[2] + "_ratios.svg")
    draw_curves(result, sys.argv[2] + "_curves.svg")


if __name__ == "__main__":
    main()
