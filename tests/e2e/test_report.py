"""The report of a measurement, as a real browser shows it: what is in it, and that it fits."""

import html
import html.parser
import json
import pathlib
import re
import statistics
import struct
import subprocess
import tempfile
import unittest

from measurement import broadcast
from skips import skip
from swarm import BIN

PROBE = pathlib.Path(__file__).with_name("report_probe.js")
VOID = {"meta", "rect", "line", "path", "circle", "br"}
UNITS = {"s": 1, "ms": 1e-3, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
         "bit/s": 1, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9, "%": 1e-2, "×": 1, "": 1}
LIGHT, DARK = "1", "0"  # as Blink counts preferred colour schemes


def pointed(document, pointer):
    """What a JSON pointer leads to."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        document = document[int(part) if isinstance(document, list) else part]
    return document


class Page(html.parser.HTMLParser):
    """All elements of a page, as dictionaries of attributes with `tag`, `text` and `row`, which is the
    text of the table row's heading."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **dict(attrs)}
        element["inside"] = list(self.open)
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        while self.open and tag not in VOID and self.open.pop()["tag"] != tag:
            pass

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def with_attribute(self, name):
        return [element for element in self.elements if name in element]

    def of_class(self, name):
        return [element for element in self.elements if name in element.get("class", "").split()]


class ReportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.result = broadcast()

    def setUp(self):
        self.dir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.page_file = self.report(self.result)

    def report(self, result):
        source, page = self.dir / "result.json", self.dir / "report.html"
        source.write_text(json.dumps(result))
        subprocess.run([BIN / "shardswarm-bench", "report", source, "-o", page], check=True,
                       stdout=subprocess.DEVNULL)
        return page

    def chromium(self, page, *flags, scheme=LIGHT):
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   f"--user-data-dir={self.dir / 'profile'}", "--virtual-time-budget=10000",
                   f"--blink-settings=preferredColorScheme={scheme}", *flags, f"file://{page}"]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        except FileNotFoundError:
            skip(self, "no chromium here")
        return ended.stdout

    def shown(self):
        return Page(self.chromium(self.page_file, "--dump-dom"))

    def probed(self, width, scheme):
        """What report_probe.js finds on the page in a frame of so many pixels."""
        content = self.page_file.read_text(encoding="utf-8")
        # Its policy would not let the probe's frame look inside.
        content, found = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", content)
        self.assertEqual(found, 1)
        content = content.replace("<details>", "<details open>")
        around = self.dir / "around.html"
        around.write_text(f'<!doctype html><meta charset="utf-8"><body style="margin:0"><iframe id="frame" '
                          f'style="border:0;width:{width}px;height:900px" srcdoc="{html.escape(content)}">'
                          f"</iframe><script>{PROBE.read_text()}</script>", encoding="utf-8")
        answer = [element for element in Page(self.chromium(around, "--dump-dom", scheme=scheme)).elements
                  if element.get("id") == "answer"]
        self.assertEqual(len(answer), 1, "the probe did not end")
        return json.loads(answer[0]["text"])

    def typical(self, summary):
        """The run nearest to the median, and all of its settings."""
        runs = [(index, run) for index, run in enumerate(self.result["runs"])
                if run["tool"] == summary["tool"] and run["settings"] == summary["settings"]
                and not run["warm_up"] and not run["error"]]
        nearest = min(runs, key=lambda one: abs(one[1]["makespan_seconds"]
                                                - summary["median_makespan_seconds"]))
        return nearest[0], [run for _, run in runs]

    def best(self):
        """The fastest settings of each tool, as indices of the summary."""
        found = {}
        for index, one in enumerate(self.result["summary"]):
            seconds = one["median_makespan_seconds"]
            if one["tool"] not in found or seconds < found[one["tool"]][0]:
                found[one["tool"]] = (seconds, index)
        return [index for _, index in found.values()]

    def test_every_figure_is_the_results(self):
        page = self.shown()
        for element in page.with_attribute("data-path"):
            raw = pointed(self.result, element["data-path"])
            self.assertEqual(json.loads(element["data-value"]), raw, element["data-path"])
        # No figure stands alone, and what is read is the raw value, rounded.
        figures = page.of_class("n")
        self.assertGreater(len(figures), 300)
        for figure in figures:
            unit = [one for one in figure["inside"] if "data-unit" in one]
            self.assert_reads(figure, float(unit[0]["data-unit"]) if unit else None)

    def assert_reads(self, figure, unit):
        said = re.fullmatch(r"(-?\d+(?:\.(\d+))?)\u202f?(.*)", figure["text"])
        self.assertIsNotNone(said, figure["text"])
        scale = unit or UNITS[said.group(3)]
        least = scale * 10 ** -len(said.group(2) or "")
        self.assertAlmostEqual(float(said.group(1)) * scale, json.loads(figure["data-value"]),
                               delta=0.5001 * least, msg=figure["text"])

    def test_nothing_is_left_out(self):
        paths = {element["data-path"] for element in self.shown().with_attribute("data-path")}
        wanted = {f"/scenario/{name}" for name in ("hosts", "model_bytes", "rate_bits_per_second")}
        for index in range(len(self.result["hosts"])):
            wanted |= {f"/hosts/{index}/{name}" for name in ("cpus", "memory_bytes", "clock_offset_seconds")}
        for index in range(len(self.result["summary"])):
            wanted |= {f"/summary/{index}/{name}" for name in
                       ("runs", "median_makespan_seconds", "median_ratio", "times_shardswarm",
                        "median_receiver_cpu_seconds")}
        wanted |= {f"/runs/{index}/makespan_seconds" for index, run in enumerate(self.result["runs"])
                   if run["warm_up"]}
        for index in self.best():
            number, runs = self.typical(self.result["summary"][index])
            wanted |= {f"/runs/{self.result['runs'].index(run)}/makespan_seconds" for run in runs}
            for which, node in enumerate(self.result["runs"][number]["nodes"]):
                at = f"/runs/{number}/nodes/{which}"
                wanted |= {f"{at}/{name}" for name in ("received_bytes", "sent_bytes", "cpu_seconds",
                                                       "peak_private_bytes", "peak_resident_bytes", "rate")}
                wanted |= {f"{at}/fetched_from/{name}" for name in node["fetched_from"]}
        self.assertEqual(wanted - paths, set())

    def test_what_is_computed_is_right(self):
        page = self.shown()
        checked = 0
        for element in page.with_attribute("data-derived"):
            row = [one for one in element["inside"] if one["tag"] == "tr"]
            if not row or not row[0]["text"].startswith("shardswarm"):
                continue
            _, runs = self.typical(self.result["summary"][0])
            kind, *where = element["data-derived"].split(" ")
            if kind in ("max", "median"):
                role, field = where
                values = [node[field] for run in runs for node in run["nodes"] if node["role"] == role]
                made = max(values) if kind == "max" else statistics.median(values)
                self.assertAlmostEqual(json.loads(element["data-value"]), made, msg=element)
                checked += 1
        self.assertEqual(checked, 5)

    def test_bars_are_as_long_as_they_say(self):
        page = self.shown()
        drawn = [(float(bar["width"].rstrip("%")), json.loads(bar["data-value"]))
                 for bar in page.of_class("made")]
        drawn += [(float(bound["x"].rstrip("%")), json.loads(bound["data-value"]))
                  for bound in page.of_class("bound")]
        drawn += [(float(dot["cx"].rstrip("%")), json.loads(dot["data-value"]))
                  for dot in page.elements if dot["tag"] == "circle"]
        tools = len({(one["tool"], one["settings"].get("verify")) for one in self.result["summary"]})
        self.assertEqual(len(drawn), tools * (1 + 1 + self.result["scenario"]["repeats"]))
        longest = max(seconds for _, seconds in drawn)
        for percent, seconds in drawn:
            self.assertAlmostEqual(percent, 100 * seconds / longest, delta=0.01)

    def test_rates_are_drawn_as_measured(self):
        page = self.shown()
        top = [json.loads(element["data-value"]) / 8 for element in page.with_attribute("data-derived")
               if element["data-derived"] == "rate-scale"][0]
        index, _ = self.typical(self.result["summary"][0])
        seconds = self.result["runs"][index]["makespan_seconds"]
        plots = [plot for plot in page.with_attribute("data-path")
                 if re.fullmatch(rf"/runs/{index}/nodes/\d+/rate", plot["data-path"])]
        self.assertEqual(len(plots), 8)
        for plot in plots:
            sent, = [path for path in page.elements
                     if path.get("class") == "sent" and plot in path["inside"]]
            points = [tuple(map(float, point.split(","))) for point in re.split("[ML]", sent["d"])[1:]]
            samples = [one for one in json.loads(plot["data-value"]) if one["t"] <= seconds]
            self.assertEqual(len(points), len(samples))
            for (x, y), sample in zip(points, samples):
                self.assertAlmostEqual(x, 1000 * sample["t"] / seconds, delta=0.06)
                self.assertAlmostEqual(y, 100 - 100 * sample["sent_bytes_per_second"] / top, delta=0.06)

    def test_axes_have_ticks_with_units(self):
        page = self.shown()
        below = [axis for axis in page.of_class("axis") if "below" in axis["class"]]
        beside = [axis for axis in page.of_class("axis") if "beside" in axis["class"]]
        self.assertGreaterEqual(len(below), 9)  # the bars', and each node's of a tool
        self.assertGreaterEqual(len(beside), 8)
        for axis in (*below, *beside):
            ticks = self.ticks(page, axis)
            self.assertGreaterEqual(len(ticks), 2)
            values = [float(tick["text"].split()[0]) for tick in ticks]
            edge = "left" if axis in below else "bottom"
            places = [float(re.search(rf"{edge}:\s*([\d.]+)%", tick["style"]).group(1)) for tick in ticks]
            self.assertEqual(values[0], 0)
            self.assertLessEqual(places[-1], 100.001)
            for value, place in zip(values, places):  # all of one scale
                self.assertAlmostEqual(place, places[-1] * value / values[-1], delta=0.01)
            if axis in below:
                self.assertEqual({tick["text"].split()[1] for tick in ticks}, {"s"})
        self.assertEqual({unit["text"] for unit in page.of_class("unit")}, {"Mbit/s"})
        # The bars and their axis have one scale.
        drawn = page.of_class("made")[0]
        last = self.ticks(page, below[0])[-1]
        place = float(re.search(r"left:\s*([\d.]+)%", last["style"]).group(1))
        self.assertAlmostEqual(float(drawn["width"].rstrip("%")) / json.loads(drawn["data-value"]),
                               place / float(last["text"].split()[0]), delta=0.01)

    @staticmethod
    def ticks(page, axis):
        return [one for one in page.elements if one["tag"] == "span" and axis in one["inside"]]

    def test_it_says_how_it_was_made_and_what_it_shows(self):
        page = self.shown()
        text = page.elements[0]["text"]
        for said in (self.result["conclusion"], *(self.result["origin"][name] for name in
                                                  ("command", "version", "started")),
                     self.result["model"]["name"], self.result["hosts"][0]["cpu"],
                     self.result["origin"]["rivals"]["libtorrent"]):
            self.assertIn(said, text)
        paths = {element["data-path"] for element in page.with_attribute("data-path")}
        self.assertLessEqual({f"/model/{name}" for name in ("bytes", "files", "tensors", "pieces")}, paths)

    def test_settings_that_were_tried_are_folded(self):
        page = self.shown()
        tables = page.of_class("settings")
        self.assertEqual(len(tables), len(self.best()))
        folded = 0
        for table in tables:
            rows = [one for one in page.elements if one["tag"] == "tr" and table in one["inside"]]
            around = [one for one in table["inside"] if one["tag"] == "details"]
            self.assertEqual(len(around), int(len(rows) > 2))  # its head is one
            self.assertTrue(all("open" not in one for one in around))
            folded += len(around)
        outside = [one["text"] for one in page.elements if one["tag"] == "p"
                   and one["text"].startswith("The best: ")]
        self.assertGreater(folded, 1)
        self.assertEqual(len(outside), folded)
        best = min((one for one in self.result["summary"] if one["tool"] == "libtorrent"),
                   key=lambda one: one["median_makespan_seconds"])
        self.assertTrue(any(f"queue {best['settings']['queue']}," in text for text in outside), outside)

    def test_a_result_of_an_older_version_has_a_page(self):
        older = {name: value for name, value in self.result.items()
                 if name not in ("conclusion", "origin", "model")}
        older["hosts"] = [{name: value for name, value in host.items() if name != "cpu"}
                          for host in older["hosts"]]
        self.page_file = self.report(older)
        page = self.shown()
        self.assertEqual(page.of_class("conclusion"), [])
        self.assertEqual(len([one for one in page.elements if one["tag"] == "dd"
                              and one["text"] == "–"]), 3)  # the command, the version, the date

    def test_it_stands_alone(self):
        text = self.page_file.read_text(encoding="utf-8")
        for what in (r"https?:", r"\bsrc=", r"\bhref=", r"url\(", "@import", "<link", "<script", "<img"):
            self.assertIsNone(re.search(what, text), what)
        self.assertIn("default-src 'none'", text)

    def test_it_fits_and_can_be_read(self):
        for width in (1280, 420):
            for scheme in (LIGHT, DARK):
                with self.subTest(width=width, scheme=scheme):
                    found = self.probed(width, scheme)
                    self.assertEqual(found["width"], width)
                    self.assertEqual((found["beyond"], found["narrow"]), ([], []))
                    self.assertGreater(found["texts"], 500)
                    self.assertEqual(found["faint"], [])
                    self.assertEqual(found["dark"], scheme == DARK)

    def test_long_names_and_many_hosts_fit(self):
        names = tuple(f"gpu-node-{number:03}.rack-{number // 8}.cluster.example.internal"
                      for number in range(24))
        self.page_file = self.report(broadcast(names, repeats=1))
        for width in (1280, 420):
            with self.subTest(width=width):
                found = self.probed(width, LIGHT)
                self.assertEqual((found["width"], found["beyond"], found["narrow"]), (width, [], []))

    def test_it_is_painted(self):
        for width in (1280, 500):  # a window has at least 500
            image = self.dir / f"{width}.png"
            self.chromium(self.page_file, f"--screenshot={image}", f"--window-size={width},3000")
            content = image.read_bytes()
            self.assertEqual(struct.unpack(">II", content[16:24]), (width, 3000))
            self.assertGreater(len(content), 50_000)  # an empty page has some 10 kB


if __name__ == "__main__":
    unittest.main()
