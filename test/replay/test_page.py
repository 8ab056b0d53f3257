"""report.html: its structure read with Python's own parser, and the page itself in a real browser."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import made_up_report
import numpy as np
import pytest
from chromium import Chromium, find_browser

from seg_node.commands import main
from seg_node.replay import _page_charts as charts
from seg_node.replay.page import verdict, write_page
from seg_node.replay.report import ReportError

EVERY = {"time", "classes", "latency", "frames", "worst", "confusion", "notes", "settings"}
EVIL = "</title></script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\"&"
ROOT = Path(__file__).resolve().parent.parent.parent


class Page(HTMLParser):
    """What a page holds, as tests ask for it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.raw = "", path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(self.raw)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data.replace("\N{NO-BREAK SPACE}", " ") + "\n"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def sections(self) -> set[str | None]:
        return {section["id"] for section in self.all("section")}


def written(made: dict[str, Any], folder: Path) -> Page:
    path = write_page(made_up_report.write(made, folder))
    assert path == folder / "report.html"
    page = Page(path)
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a report in which nothing is missing."""
    folder = tmp_path_factory.mktemp("full")
    made = made_up_report.report()
    made_up_report.add_worst(made, folder)
    return write_page(made_up_report.write(made, folder))


def test_every_section_is_there_and_linked(full: Path) -> None:
    page = Page(full)
    assert page.sections() == EVERY
    inside = {a["href"] for a in page.all("a") if (a["href"] or "").startswith("#")}
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {f"#{name}" for name in EVERY} <= inside <= {f"#{name}" for name in ids}


def test_the_page_says_what_the_report_says(full: Path) -> None:
    page = Page(full)
    for text in (
        "60.9 % mIoU over 900 frames",
        "3 of 903 frames were lost",
        "pixel accuracy 90.1 %",
        "480 × 360",  # noqa: RUF001
        "harbour_2026-03-14.mcap",
        "message 17 of /camera/front/image_raw: 240 bytes are missing",
        "the bag ends in mid-file",
        "Intel(R) Xeon(R) Processor @ 2.70GHz",
        "1.27.0",
        "image could not be read",
        "inference failed",
        "2026-03-14 15:09",
    ):
        assert text in page.text, text
    cyclists = page.text[page.text.index("Where most pixels are lost") :]
    assert re.search(r"of Bicyclist was called\s+Pedestrian", cyclists)


def test_nothing_is_fetched_and_only_its_own_script_may_run(full: Path) -> None:
    page = Page(full)
    for tag, attributes in page.elements:
        for key in ("src", "href", "srcset", "data", "poster", "action", "xlink:href"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:", "#")), f"{tag} {key}={value}"
        assert not any(key.startswith("on") or key == "style" for key in attributes), (
            attributes
        )  # the policy's business
    assert not re.search(r"url\(|@import|https?://", page.raw)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


def test_who_cannot_see_it_hears_it(full: Path) -> None:
    page = Page(full)
    assert page.all("html")[0]["lang"] == "en"
    assert all(image.get("alt") for image in page.all("img")) and len(page.all("img")) == 30
    assert all(head.get("scope") in ("row", "col") for head in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) == 4
    for picture in page.all("svg"):  # said, hidden, or a part of one that is said
        assert picture.get("aria-hidden") == "true" or picture.get("aria-label") or "preserveaspectratio" in picture
    lowest = next(s["aria-label"] for s in page.all("svg") if "mIoU" in (s.get("aria-label") or ""))
    assert lowest is not None and "lowest" in lowest


@pytest.mark.parametrize("place", ["title", "class", "note", "broken", "model", "setting", "cause", "stage", "picture"])
def test_text_from_a_bag_stays_text(place: str, tmp_path: Path) -> None:
    made = made_up_report.report(20)
    made_up_report.add_worst(made, tmp_path, 1)
    if place == "title":
        made["bag"]["title"] = EVIL
    elif place == "class":
        made["classes"] = [EVIL, *made["classes"][1:]]
        for key in ("iou", "shares", "flicker"):
            made[key][EVIL] = made[key].pop("Sky")
    elif place == "note":
        made["notes"].append(EVIL)
    elif place == "broken":
        made["broken"].append(EVIL)
    elif place == "model":
        made["model"] = EVIL
    elif place == "setting":
        made["settings"][EVIL] = {EVIL: [EVIL]}
    elif place == "cause":
        made["frames"]["dropped"][EVIL] = 3
    elif place == "stage":
        made["latency_ms"][EVIL] = {"p50": 1.0}
    else:
        made["worst"][0]["image"] = EVIL
    page = written(made, tmp_path)
    assert "owned" in page.text
    assert len(page.all("script")) == 1 and all("onerror" not in i and i["src"] != "x" for i in page.all("img"))


def test_half_a_surrogate_pair_in_a_title_is_no_reason_to_fail(tmp_path: Path) -> None:
    made = made_up_report.report(3)
    made["bag"]["title"] = "drive \ud83d.mcap"
    written(made, tmp_path)


def test_without_ground_truth_agreement_takes_its_place(tmp_path: Path) -> None:
    made = made_up_report.report(50, truth=False)
    made_up_report.add_worst(made, tmp_path, 2, truth=False)
    page = written(made, tmp_path)
    assert page.sections() == EVERY - {"confusion"}
    assert "No ground truth; 96.4 % agreement from frame to frame over 50 frames" in page.text
    assert "mIoU" not in page.text and "Recall" not in page.text and "Ground truth" not in page.text
    assert len(page.all("img")) == 4


def test_a_second_model_is_compared(tmp_path: Path) -> None:
    made = made_up_report.report(50, truth=False)
    iou = dict.fromkeys(made["classes"], 0.875)
    made["agreement"] |= {"against": 0.913, "against_model": "old_net", "iou_against": iou}
    for moment in made["moments"]:
        moment["against"] = 0.9
    page = written(made, tmp_path)
    assert "with old_net" in page.text and "91.3 %" in page.text and page.text.count("87.5 %") == 11
    assert "Agreement with old_net" in page.text


def test_without_latency(tmp_path: Path) -> None:
    made = made_up_report.report(50)
    made["latency_ms"], made["ms_per_image"] = {}, {}
    for moment in made["moments"]:
        moment["ms"] = {}
    page = written(made, tmp_path)
    assert page.sections() == EVERY - {"latency", "worst"} and " ms" not in page.text


def test_live_shows_the_way_from_camera_to_label(tmp_path: Path) -> None:
    made = made_up_report.report(50)
    made["mode"] = "live"
    made["latency_ms"]["end_to_end"] = {"p50": 41.0, "p95": 55.0, "p99": 60.0, "max": 71.0}
    made["latency_ms"]["wait"] = {"p50": 3.25, "p95": 4.0, "p99": 5.0, "max": 6.0}
    made["frames"] |= {"arrived": 52, "fps": {"sent": 30.0, "out": 28.4}, "dropped": {"newer_frame": 2, "max_rate": 0}}
    for moment in made["moments"]:  # seen from outside the node
        moment["ms"] = {"end_to_end": moment["ms"]["total"] * 2}
    page = written(made, tmp_path)
    assert "in 41.0 ms a frame (95 % within 55.0 ms)" in page.text and "Latency end to end" in page.text
    assert "Distribution: camera to label received" in page.text and "3.25 ms" in page.text
    assert "30.0 frames a second were sent, 28.4 labels a second came back" in page.text
    assert (
        "arrived at the node" in page.text and "a newer frame came first" in page.text and "max_rate" not in page.text
    )
    assert not any("spark" in (head["class"] or "") for head in page.all("th") if "class" in head)


def test_one_frame(tmp_path: Path) -> None:
    made = made_up_report.report(1)
    made_up_report.add_worst(made, tmp_path, 1)
    page = written(made, tmp_path)
    assert page.sections() == EVERY and "The worst frame" in page.text
    for _, attributes in page.elements:  # a number that is none breaks a drawing
        assert not any(v and "nan" in v and not v.startswith("data:") for v in attributes.values()), attributes


def test_no_frame_at_all(tmp_path: Path) -> None:
    page = written(made_up_report.report(0), tmp_path)
    assert "No frame was labelled" in page.text
    assert page.sections() == {"notes", "settings"}


def test_a_report_of_which_almost_everything_is_missing(tmp_path: Path) -> None:
    page = written({"kind": "seg_node replay report", "version": 1}, tmp_path)
    assert "No frame was labelled" in page.text and page.sections() == {"settings"}


def test_many_moments_are_drawn_as_few(tmp_path: Path) -> None:
    made = made_up_report.report(20_000)
    page = written(made, tmp_path)
    assert len(page.raw) < 700_000
    assert "Each point is the mean of up to 34 frames" in page.text


def test_the_band_holds_what_the_mean_hides() -> None:
    values = np.full(50_000, 0.8)
    values[31_234] = 0.1  # one bad frame among many
    axis = charts.axis(list(range(50_000)), [str(i) for i in range(50_000)])
    drawn = charts.timeline(axis, [charts.Series("mIoU", "s0", values)], charts.Scale(0, 1, str, str), "mIoU")
    band = re.search(r'<path d="([^"]*)" class="band s0">', drawn)
    assert band and ",90.00" in band[1] and band[1].count(",") == 2 * charts.BINS


def test_a_gap_in_a_line_stays_a_gap() -> None:
    values = np.array([0.5, 0.6, np.nan, 0.7, np.nan, 0.8, 0.9])
    axis = charts.axis(list(range(7)), [str(i) for i in range(7)])
    drawn = charts.timeline(axis, [charts.Series("mIoU", "s0", values)], charts.Scale(0, 1, str, str), "mIoU")
    line = re.search(r'<path d="([^"]*)" class="line s0">', drawn)
    assert line and line[1].count("M") == 3 and "nan" not in drawn


@pytest.mark.parametrize("elapsed", [[0.0, 1.0, 0.5], [0.0, None, 2.0], [3.0, 3.0, 3.0]])
def test_stamps_that_do_not_rise_give_way_to_frame_numbers(elapsed: list[float | None]) -> None:
    axis = charts.axis(elapsed, ["0", "1", "2"])
    assert axis.x.tolist() == [0, 1, 2] and "one recording after the other" in axis.title


def test_round_numbers() -> None:
    assert charts.nice(0, 29.97, 5) == [0, 10, 20]
    assert charts.nice(0.4, 1.0, 4) == [0.4, 0.6, 0.8, 1.0]
    assert charts.nice(7, 7, 4) == [7]


def test_times_below_a_chart_are_round_on_a_clock() -> None:
    def below(seconds: float) -> list[str]:
        axis = charts.axis(np.linspace(0, seconds, 50).tolist(), [str(i) for i in range(50)])
        scale = charts.Scale(0, 1, lambda value: "", str)
        drawn = charts.timeline(axis, [charts.Series("mIoU", "s0", np.full(50, 0.5))], scale, "mIoU")
        return [text for text in re.findall(r">([^<>]+)</text>", drawn) if text]

    assert below(3) == ["0 s", "1 s", "2 s", "3 s"]
    assert below(100) == ["0 s", "20 s", "40 s", "60 s", "80 s", "100 s"]
    assert below(3300) == ["0 s", "20:00", "40:00"]
    assert below(4 * 3600) == ["0 s", "1:00:00", "2:00:00", "3:00:00", "4:00:00"]


def test_a_slow_first_frame_does_not_flatten_the_others(tmp_path: Path) -> None:
    page = written(made_up_report.report(900), tmp_path)
    assert re.search(r"1 frame took longer, up to 2\d\d ms", page.text)


def test_a_missing_picture_and_one_from_elsewhere_are_said_not_shown(tmp_path: Path) -> None:
    made = made_up_report.report(40)
    folder = tmp_path / "out"
    made_up_report.add_worst(made, folder, 3)
    (folder / made["worst"][0]["image"]).unlink()
    (tmp_path / "private.png").write_bytes((folder / made["worst"][0]["truth"]).read_bytes())
    made["worst"][1]["overlay"] = "../private.png"
    (folder / "worst" / "text.jpg").write_text("no picture", encoding="utf-8")
    made["worst"][2]["image"] = "worst/text.jpg"
    page = written(made, folder)
    assert len(page.all("img")) == 9 - 3
    assert page.text.count("is missing") == 3


def test_large_pictures_become_small_ones(tmp_path: Path) -> None:
    import cv2

    made = made_up_report.report(40)
    made_up_report.add_worst(made, tmp_path, 1)
    noise = np.random.default_rng(1).integers(0, 255, (1500, 2000, 3), np.uint8)
    made["worst"][0]["image"] = "worst/noise.png"
    assert cv2.imwrite(str(tmp_path / "worst" / "noise.png"), noise)
    page = written(made, tmp_path)
    assert (tmp_path / "worst" / "noise.png").stat().st_size > 8e6 and len(page.raw) < 3e6
    assert page.all("img")[0]["src"].startswith("data:image/jpeg;base64,")  # type: ignore[union-attr]


def test_many_classes_have_a_picture_for_a_matrix(tmp_path: Path) -> None:
    made = made_up_report.report(5)
    names = [f"class {i}" for i in range(150)]
    made.update(classes=names, palette=[[i, i, i] for i in range(150)], moments=[])
    made.update({key: dict.fromkeys(names, 0.5) for key in ("iou", "shares", "flicker")})
    made["confusion"] = (np.eye(151, dtype=int) * 99 + 1).tolist()
    page = written(made, tmp_path)
    assert "150 classes as a heat map" in page.raw and len(page.raw) < 300_000


def test_merged_reports_show_a_table_of_bags(tmp_path: Path) -> None:
    page = written(merged(), tmp_path)
    assert EVERY - {"worst"} | {"bags"} == page.sections()
    assert "This report is made of 2 recordings" in page.text and "night_drive" in page.text
    assert "one recording after the other" in page.text
    assert "time in the recording" not in page.text  # even where the second starts as the first ends


def merged() -> dict[str, Any]:
    """A report of two bags, in the shape of ``report.merge``; the first has a single frame."""
    made, second = made_up_report.report(1), made_up_report.report(40, seed=2)
    keys = ("bag", "images", "frames", "miou", "pixel_accuracy", "agreement", "ms_per_image")
    bags = [("day_drive", made), ("night_drive", second)]
    lines = [{"name": n, **{key: one[key] for key in keys}, "broken": len(one["broken"])} for n, one in bags]
    lines[1]["miou"] = 0.4
    moments = [{"bag": name, **moment} for name, one in bags for moment in one["moments"]]
    return {**made, "bag": {**made["bag"], "title": "2 bags"}, "bags": lines, "moments": moments}


@pytest.mark.parametrize(
    "content", ["", "[1]", '{"kind": "something else"}', '{"kind": "seg_node replay report", "version": 9}']
)
def test_what_is_no_report_is_refused_by_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(content, encoding="utf-8")
    with pytest.raises(ReportError, match=r"report\.json"):
        write_page(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_thousands_of_complaints_are_folded(tmp_path: Path) -> None:
    made = made_up_report.report(5)
    made["broken"] = [f"message {i} is broken" for i in range(5000)]
    page = written(made, tmp_path)
    assert "5,000 messages could not be read" in page.text and "4,990 more" in page.text
    assert "and 4,000 more, which report.json holds" in page.text and "message 999 is" in page.text


def test_the_verdict_of_a_clean_run() -> None:
    made = made_up_report.report(2)
    assert verdict(made).endswith("No frame was lost.")


def test_style_and_script_travel_with_the_package() -> None:
    wanted = {path.name for path in (ROOT / "seg_node" / "replay").iterdir() if path.suffix in (".css", ".js")}
    named = re.search(r'"seg_node\.replay": \[(.*?)\]', (ROOT / "setup.py").read_text(encoding="utf-8"))
    assert wanted == {"page.css", "page.js"} and named and set(re.findall(r'"([^"]+)"', named[1])) == wanted


# ---- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(find_browser(), tmp_path_factory.mktemp("browser")) as one:
        yield one


def complaints(browser: Chromium, path: Path) -> list[str]:
    """What a browser finds wrong with a page: exceptions, errors, refused by the policy, anything fetched."""
    found = []
    for event in browser.events:
        method, told = event["method"], event["params"]
        wrong = ("Runtime.exceptionThrown", "Log.entryAdded", "Network.loadingFailed")
        if method in wrong or told.get("type") in ("error", "warning", "assert"):
            found.append(json.dumps(told))
        elif method == "Network.requestWillBeSent":
            url = told["request"]["url"]
            if url != path.resolve().as_uri() and not url.startswith("data:"):
                found.append(f"fetched {url}")
    return found


def shown(browser: Chromium, path: Path) -> None:
    """Open a page and hold it to what every page must be."""
    browser.open(path)
    images = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
    assert browser.run(images), "a picture does not load"
    assert complaints(browser, path) == []
    asked = [e for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert any(e["params"]["request"]["url"] == path.resolve().as_uri() for e in asked)  # requests are seen at all


def column(browser: Chromium, table: str, index: int) -> list[str]:
    rows = f"[...document.querySelectorAll('{table} tbody tr')]"
    return browser.run(f"{rows}.map(r => r.cells[{index}].textContent.replace(/\\u00a0/g, ' '))")


def click(browser: Chromium, element: str) -> None:
    """Click as a hand does: with the mouse, in the middle of what is there."""
    place = browser.run(
        f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'center', behavior: 'instant'}});"
        "const r = e.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; })()"
    )
    for kind in ("mousePressed", "mouseReleased"):
        browser.ask("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)


def test_it_opens_without_a_complaint_and_its_pictures_load(browser: Chromium, full: Path) -> None:
    shown(browser, full)
    assert browser.run("document.images.length") == 30
    assert browser.run("document.images[0].naturalWidth") == 480
    assert browser.run("document.title") == "camvid-rdsnet on harbour_2026-03-14.mcap"


def test_tables_sort(browser: Chromium, full: Path) -> None:
    browser.open(full)
    heads = "document.querySelectorAll('#classes th button')"
    assert column(browser, "#classes", 1)[0] == "91.0 %"
    click(browser, f"{heads}[1]")  # IoU
    down = column(browser, "#classes", 1)
    assert down[:3] == ["93.0 %", "91.0 %", "80.0 %"] and down[-1] == "–"  # noqa: RUF001
    assert browser.run("document.querySelector('#classes th[aria-sort]').textContent") == "IoU"
    click(browser, f"{heads}[1]")
    up = column(browser, "#classes", 1)
    assert up[:2] == ["22.0 %", "26.0 %"] and up[-1] == "–"  # noqa: RUF001
    click(browser, f"{heads}[0]")  # Class
    names = [name.strip() for name in column(browser, "#classes", 0)]
    assert names == sorted(names) and len(names) == 11
    click(browser, f"{heads}[0]")
    assert [name.strip() for name in column(browser, "#classes", 0)] == names[::-1]
    click(browser, "document.querySelectorAll('#latency th button')[1]")  # p50: milliseconds, not text
    times = [float(text.split()[0]) for text in column(browser, "#latency", 1)]
    assert times == sorted(times, reverse=True) and len(times) == 5


def test_pictures_enlarge(browser: Chromium, full: Path) -> None:
    browser.open(full)
    small = browser.run("document.querySelectorAll('.zoom img')[4].getBoundingClientRect().width")
    click(browser, "document.querySelectorAll('.zoom')[4]")
    assert browser.run("document.querySelector('dialog').open")
    assert browser.run("document.querySelector('dialog img').src === document.querySelectorAll('.zoom img')[4].src")
    assert browser.run("document.querySelector('dialog img').getBoundingClientRect().width") > 2 * small
    for kind in ("keyDown", "keyUp"):
        browser.ask("Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    assert browser.run("document.querySelector('dialog img').alt") == "Ground truth, frame 42"
    for kind in ("keyDown", "keyUp"):
        browser.ask("Input.dispatchKeyEvent", type=kind, key="Escape", code="Escape", windowsVirtualKeyCode=27)
    assert not browser.run("document.querySelector('dialog').open")


def test_charts_tell_what_lies_under_the_pointer(browser: Chromium, full: Path) -> None:
    browser.open(full)
    place = browser.run(
        "(() => { const r = document.querySelector('#time .chart').getBoundingClientRect();"
        "scrollTo({top: r.top - 200, behavior: 'instant'});"
        "const s = document.querySelector('#time .chart').getBoundingClientRect();"
        "return [s.left + s.width / 2, s.top + 60]; })()"
    )
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    reading = browser.run("document.querySelector('#time .chart .reading').textContent")
    assert re.match(r"1[45]\.\d+ s, frame 4[45]\d( to 4[45]\d)?mIoU \d\d\.\d\s%", reading), reading
    assert browser.run("getComputedStyle(document.querySelector('#time .reading')).display") == "block"


@pytest.mark.parametrize("moments", [0, 1, 10, 3000])
def test_short_and_long_drives_open_too(browser: Chromium, moments: int, tmp_path: Path) -> None:
    made = made_up_report.report(moments)
    if moments:
        made_up_report.add_worst(made, tmp_path, 1)
    shown(browser, write_page(made_up_report.write(made, tmp_path)))
    assert browser.run("document.querySelectorAll('section').length") >= 2


def test_real_drives_one_by_one_and_merged(browser: Chromium, drives: Path) -> None:
    """What the command writes of two recordings of the street: each its page, and one of both."""
    for name, pictures, sections in [("a", 24, EVERY), ("b", 24, EVERY), ("", 30, EVERY | {"bags"})]:
        path = drives / name / "report.html"
        shown(browser, path)
        assert Page(path).sections() == sections, name
        assert browser.run("document.querySelectorAll('#worst img').length") == pictures, name
        score = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["miou"]
        assert browser.run("document.querySelector('.verdict').textContent").startswith(f"{100 * score:.1f}"), name
        assert browser.run("document.querySelectorAll('#time .ring').length") * 3 == pictures, name
    assert column(browser, "#bags", 0) == ["a", "b"]


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("drives")
    for name, seed in (("a", "7"), ("b", "8")):
        assert main(["record-street", str(folder / f"{name}.mcap"), "--seconds", "0.8", "--seed", seed]) == 0
    bags = [str(folder / "a.mcap"), str(folder / "b.mcap")]
    what = ["--model", "rdsnet_camvid", "--image", "/camera/image_raw", "--label", "/camera/ground_truth"]
    assert main(["replay", *bags, *what, "--out", str(folder / "out"), "--no-video", "--no-bag", "--no-rerun"]) == 0
    return folder / "out"


def test_a_title_that_is_a_script_does_not_run(browser: Chromium, tmp_path: Path) -> None:
    made = made_up_report.report(20)
    made["bag"]["title"] = made["model"] = EVIL
    made["notes"] = made["broken"] = [EVIL]
    made["classes"] = [EVIL, *made["classes"][1:]]
    shown(browser, write_page(made_up_report.write(made, tmp_path)))
    assert browser.run("document.title").startswith("</title></script>")
    assert browser.run("document.querySelector('h1').textContent").count("owned") == 4


def test_the_policy_stops_what_slipped_through(browser: Chromium, full: Path, tmp_path: Path) -> None:
    """Markup that was not escaped, were there any, would run nothing and fetch nothing."""
    bad = tmp_path / "bad.html"
    evil = '<script>document.title="owned"</script><img src="http://127.0.0.1:9/x.png" onerror="document.title=2">'
    bad.write_text(full.read_text(encoding="utf-8").replace("<footer>", evil + "<footer>"), encoding="utf-8")
    browser.open(bad)
    assert browser.run("document.title") == "camvid-rdsnet on harbour_2026-03-14.mcap"
    assert len(complaints(browser, bad)) >= 2


@pytest.mark.parametrize("width", [360, 768, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_width_and_theme(browser: Chromium, full: Path, width: int, theme: str) -> None:
    """Nothing sticks out sideways, and text stands out from what it lies on (WCAG: 4.5 to 1)."""
    browser.ask("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    try:
        browser.open(full)
        assert browser.run("document.documentElement.scrollWidth") <= width
        ground = browser.run("getComputedStyle(document.querySelector('section')).backgroundColor")
        assert (luminance(ground) < 0.1) == (theme == "dark")
        for element in ("section", ".lead", "thead th", ".tile dt", ".tile.bad .value", ".tile.main .value", "caption"):
            ink = browser.run(f"getComputedStyle(document.querySelector('{element}')).color")
            assert contrast(ink, ground) >= 4.5, f"{element}: {ink} on {ground}"
    finally:
        browser.ask("Emulation.clearDeviceMetricsOverride")
        browser.ask("Emulation.setEmulatedMedia", features=[])


def luminance(color: str) -> float:
    parts = np.array([int(part) for part in re.findall(r"\d+", color)[:3]]) / 255
    return float(np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_it_prints(browser: Chromium, full: Path) -> None:
    browser.open(full)
    assert len(browser.ask("Page.printToPDF", printBackground=True)["data"]) > 50_000
    browser.ask("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    finally:
        browser.ask("Emulation.setEmulatedMedia", media="")
