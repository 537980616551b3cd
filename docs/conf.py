"""The site: `make docs` builds it into out/site.

Sphinx takes the whole repository for its sources and reads the pages that `include_patterns` names. So notebooks/ and
docs/ lie beside each other on the site as they do in the repository, and a relative link between them, also to a file
of code, leads to the same place there, on GitHub and in an editor; nothing is copied or linked on a fresh clone.
"""

import os
import re
import sys
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]
os.environ.setdefault("MPLBACKEND", "Agg")

project = "sophia-ref"
author = copyright = "The sophia-ref authors"
version = release = re.search(r'__version__ = "(.+)"', (ROOT / "sophia_ref/__init__.py").read_text("utf-8"))[1]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "docstrings", "pictures", "neighbours"]
include_patterns = ["docs/**", "notebooks/[0-9]*.ipynb", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = [".*", "out", "build", "dist", "docs/_*", "**.py", "**.ipynb_checkpoints", "**/__pycache__"]
root_doc = "docs/index"
nitpicky = True

# Notebooks are shown as they are stored: `make test-notebooks` runs them.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["attrs_inline", "attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

# Names and defaults are the signature; what a docstring says of shapes would only be repeated by types.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_mock_imports = ["torch", "jax", "optax", "triton"]
add_module_names = False
toc_object_entries = False
smartquotes = False  # three dots are code here

# MathJax comes with the site, in one file that has its fonts in it: nothing is loaded from elsewhere.
mathjax_path = "tex-svg.js"
mathjax_options = {"defer": "defer"}
mathjax3_config = {"options": {"enableMenu": False}}

html_theme = "furo"
html_title = "sophia-ref"
html_static_path = ["_static", str(files("mathjax") / "static" / "mathjax" / "es5" / "tex-svg.js")]
html_css_files = ["site.css"]
html_extra_path = ["_root"]
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # a page that was opened from disk may not read the others
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#b03a08", "color-brand-content": "#b03a08"},
    "dark_css_variables": {"color-brand-primary": "#f08a55", "color-brand-content": "#f08a55"},
}
pygments_style, pygments_dark_style = "friendly", "github-dark"
