"""
Pictures of the page: `python -m tests.support.screenshots [DIR]`, by default into `docs/images`.

Into the documentation go a few; with a directory named, all of them, to be looked at. pngquant makes
them small where the machine has it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from moa_middleware import report

from . import sample
from .chromium import launched

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
DESKTOP = {"width": 1240, "height": 860}
PHONE = {"width": 390, "height": 844}
SHOTS = {
    # name: viewport, theme, media, address, whole page
    "report-list": (DESKTOP, "light", "screen", "#", False),
    "report-turn": ({"width": 1240, "height": 1500}, "light", "screen", "turn:0", False),
    "report-turn-dark": (DESKTOP, "dark", "screen", "turn:1", False),
    "report-phone": (PHONE, "light", "screen", "turn:0", False),
    "report-run": (DESKTOP, "light", "screen", "#run", False),
    "turn-whole": (DESKTOP, "light", "screen", "turn:0", True),
    "list-dark": (DESKTOP, "dark", "screen", "#", True),
    "turn-failed": (DESKTOP, "light", "screen", "turn:1", True),
    "turn-late": (DESKTOP, "light", "screen", "turn:2", True),
    "turn-tool": (DESKTOP, "dark", "screen", "turn:3", True),
    "turn-around": (DESKTOP, "light", "screen", "turn:4", True),
    "run-dark": (DESKTOP, "dark", "screen", "#run", True),
    "run-whole": (DESKTOP, "light", "screen", "#run", True),
    "phone-list": (PHONE, "light", "screen", "#", True),
    "phone-list-dark": (PHONE, "dark", "screen", "#", False),
    "phone-turn": (PHONE, "dark", "screen", "turn:1", True),
    "phone-run": (PHONE, "light", "screen", "#run", True),
    "print-turn": ({"width": 794, "height": 1123}, "dark", "print", "turn:0", True),
    "print-run": ({"width": 794, "height": 1123}, "light", "print", "#run", True),
}
"""Name, window, theme, medium, address (a turn by its place), and whether the page is taken whole."""


def take(browser, page_file, name, folder):
    """Take one picture."""
    viewport, theme, media, address, whole = SHOTS[name]
    context = browser.new_context(
        viewport=viewport, color_scheme=theme, device_scale_factor=1, reduced_motion="reduce", timezone_id="UTC"
    )
    page = context.new_page()
    page.emulate_media(media=media, color_scheme=theme)
    page.goto(page_file.as_uri())
    if address.startswith("turn:"):
        place = int(address.removeprefix("turn:"))
        page.evaluate(
            "(place) => { location.hash = document.querySelectorAll('.turns tbody a')[place].getAttribute('href') }",
            place,
        )
        page.wait_for_selector(".view.turn")
    elif address != "#":
        page.evaluate("(address) => { location.hash = address }", address)
        page.wait_for_selector(".view.run")
    if media == "print":
        page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    page.evaluate("() => document.activeElement.blur()")
    path = folder / f"{name}.png"
    page.screenshot(path=path, full_page=whole)
    context.close()
    if shutil.which("pngquant"):
        subprocess.run(
            ["pngquant", "--force", "--skip-if-larger", "--speed", "1", "--output", path, "64", path], check=False
        )
    return path


def main(folder=None):
    """Take all pictures, or those of the documentation."""
    names = [name for name in SHOTS if folder is not None or name.startswith("report-")]
    target = IMAGES if folder is None else Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as desk:
        traces = sample.write(Path(desk) / "traces", pace=1.0)
        page_file = Path(desk) / "run.html"
        report.write(traces, page_file, title="API review assistant")
        with launched() as browser:
            for name in names:
                path = take(browser, page_file, name, target)
                sys.stdout.write(f"{path} {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main(*sys.argv[1:2])
