"""The picture of the explorer in the documentation: `make docs/explorer.png`."""

import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from sophia_ref.files import replacing
from sophia_ref.plots import explore

SHOWN = "#problem=sophia_fig2&noise=0.5&inspect=sophia&gd=&signgd=&adam=&newton=&sophia="


def main(path: str) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "explorer.html"
        page_file.write_text(explore().html, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 850}, device_scale_factor=1.5)
        page.goto(page_file.as_uri() + SHOWN)
        page.evaluate("() => { go_to(16); hover({ key: 'sophia', i: 5 }); }")
        page.wait_for_timeout(500)
        picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    picture = picture.quantize(256, kmeans=3, dither=Image.Dither.NONE)  # a third of the size
    with replacing(path) as file:
        picture.save(file, format="png", optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
