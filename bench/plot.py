#!/usr/bin/env python3
"""Draws the plots of BENCHMARKS.md from the raw lines of `cargo xtask bench`.

usage: bench/plot.py RAW.jsonl... --out FOLDER

Writes connections.svg (server CPU for a message, against connections) and latency.svg (latency
distribution at a fixed rate). Points are medians of all rounds. Needs the standard library only.
"""

import argparse
import json
import math
import pathlib
import statistics
import sys
from collections import defaultdict
from html import escape

COLOURS = ["#0b6e4f", "#c8553d", "#3d5a99", "#8f6b00", "#7a3e9d"]
WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 40, 55


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", nargs="+", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    lines = [json.loads(line) for path in args.raw for line in path.read_text().splitlines()]
    runs = [line for line in lines if "run" in line]
    args.out.mkdir(parents=True, exist_ok=True)
    plots = {"connections.svg": connections(runs), "latency.svg": latency(runs)}
    for name, plot in plots.items():
        if plot is None:
            sys.exit(f"{name}: the files hold no run for this plot")
        (args.out / name).write_text(plot)


def connections(runs):
    """Server CPU for a delivered message, by number of connections: the `scale` runs."""
    points = defaultdict(list)
    for run in runs:
        if run["run"].startswith("scale ") and run.get("cpu_us"):
            points[run["server"], run["peers"]].append(run["cpu_us"])
    peers = sorted({peers for _, peers in points})
    return draw(
        "Server CPU for a message, by number of connections",
        "connections (half of them send 64-byte bodies, 8 in flight each)",
        "microseconds",
        medians(points),
        [(math.log10(count), f"{count:,}") for count in peers],
        math.log10,
    )


def latency(runs):
    """Latency by percentile at 20,000 messages a second: the `rate 20k` runs."""
    points = defaultdict(list)
    for run in runs:
        if run["run"] == "rate 20k":
            for percent, time in run["latency_us"]:
                # The axis has no place for minimum and maximum.
                if 1 <= percent < 100:
                    points[run["server"], percent].append(time)
    return draw(
        "Latency at 20,000 messages a second, 50 pairs, 64-byte bodies",
        "percent of messages that took no longer",
        "microseconds",
        medians(points),
        [(nines(percent), f"{percent:g}") for percent in (1, 50, 90, 99, 99.9, 99.99)],
        nines,
    )


def nines(percent):
    """Stretches the tail: 90, 99 and 99.9 percent lie equally far apart."""
    return -math.log10(1 - percent / 100)


def medians(points):
    """Returns for each server its points (x, median), in the order of x."""
    servers = defaultdict(list)
    for (server, x), values in sorted(points.items(), key=lambda point: point[0][1]):
        servers[server].append((x, statistics.median(values)))
    return servers


def draw(title, x_label, y_label, servers, x_ticks, scale):
    """Returns a line plot as SVG; the vertical axis is logarithmic."""
    values = [y for line in servers.values() for _, y in line]
    if not values:
        return None
    low, high = (math.log10(limit) for limit in (min(values) / 1.2, max(values) * 1.2))
    first, last = x_ticks[0][0], x_ticks[-1][0]

    def across(x):
        return LEFT + (x - first) / ((last - first) or 1) * (WIDTH - LEFT - RIGHT)

    def down(y):
        return HEIGHT - BOTTOM - (math.log10(y) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for tick in y_ticks(low, high):
        y = down(tick)
        svg.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        svg.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:,g}</text>')
    for x, label in x_ticks:
        x = across(x)
        svg.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eee"/>')
        svg.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{label}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    svg.append(
        f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_label)}</text>'
    )
    svg.append(
        f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>'
    )
    ends = []
    for (server, line), colour in zip(servers.items(), COLOURS):
        spots = [(across(scale(x)), down(y)) for x, y in line]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
        svg.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        svg += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in spots]
        ends.append((spots[-1], server, colour))
    # Names at the ends of the lines, moved apart where they overlap.
    above = -math.inf
    for (x, y), server, colour in sorted(ends, key=lambda end: end[0][1]):
        above = max(y + 4, above + 15)
        svg.append(f'<text x="{x + 8:.1f}" y="{above:.1f}" fill="{colour}">{escape(server)}</text>')
    svg.append("</svg>")
    return "\n".join(svg) + "\n"


def y_ticks(low, high):
    """Returns 1, 2 and 5 times the powers of ten between two logarithms."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [factor * 10**power for power in powers for factor in (1, 2, 5)]
    return [tick for tick in ticks if low <= math.log10(tick) <= high]


if __name__ == "__main__":
    main()
