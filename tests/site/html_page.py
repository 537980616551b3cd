"""A page of the site, as far as tests ask."""

from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).parents[2]
SITE = ROOT / "out" / "site"
NEIGHBOURS = ("annotated", "lite")  # built by other targets, and tested there
LOADS = {
    ("img", "src"),
    ("script", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("source", "srcset"),
    ("video", "src"),
}


class Page(HTMLParser):
    """What a page of HTML links to, loads, and can be linked to."""

    def __init__(self, path):
        super().__init__()
        self.path, self.links, self.loads, self.anchors, self.images = path, [], [], set(), []
        self.counts = defaultdict(int)
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.counts[tag] += 1
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "meta" and found.get("http-equiv") == "refresh":
            self.links.append(found["content"].partition("url=")[2])
        if tag == "link" and found["rel"] not in ("index", "search", "next", "prev", "canonical"):
            self.loads.append(found["href"])
        self.loads += [value for name, value in attributes if (tag, name) in LOADS]
        if tag == "img":
            self.images.append(found)
