"""Settings of the documentation site, which ``make docs`` builds."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project = "DDP Flows"
author = "the authors of DDP Flows"
version = release = _PROJECT["version"]
language = "en"
smartquotes = False
html_title = f"{project} {version}"
copyright = "the authors of DDP Flows, MIT licence"  # noqa: A001 - Sphinx's name

# The source folder is the root of the project, so that a page's links to code, results and other
# pages lead to the same places here and where the files are read as they lie.
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "notebooks/*.ipynb",
    "benchmarks/RESULTS.md",
    "deployment/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [
    *("**/.*", ".*", ".venv*", "build", "dist", "tests", "ddp-results", "ddp_tasks", "flows"),
    *("schemas", "**/__pycache__", "*.egg-info", "benchmarks/results"),
]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "sphinxcontrib.spelling",
    "myst_nb",
    "docs.generated",
    "docs.mathml",
]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
# Artifacts of Prefect hold tables.
nb_render_markdown_format = "gfm"

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
napoleon_google_docstring = False

# A pattern of pages that are not there yet; short names that two classes have.
# Results of notebooks are no prose: the builder that checks spelling has no form for them.
suppress_warnings = ["toc.empty_glob", "ref.python", "mystnb.mime_priority"]

html_theme = "pydata_sphinx_theme"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_favicon = "static/icon.svg"
html_context = {"default_mode": "auto"}
html_show_sphinx = False
html_copy_source = False
html_additional_pages = {"index": "start.html"}
templates_path = ["templates"]
html_theme_options = {
    "logo": {"text": project},
    "show_version_warning_banner": False,
    "switcher": {"json_url": "../versions.json", "version_match": version},
    # The file lies beside the builds and not in the sources: docs/site.py writes it.
    "check_switcher": False,
    "navbar_end": ["version-switcher", "theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
}
html_sidebars = {page: [] for page in ("docs/index", "docs/tutorial", "docs/gallery")}

spelling_lang = tokenizer_lang = "en_GB"
spelling_word_list_filename = "docs/words.txt"
# What else is installed, and who wrote the history, says nothing of a word.
spelling_ignore_importable_modules = spelling_ignore_contributor_names = False
# Measurements, whose words are names of machines, programs and networks.
spelling_exclude_patterns = ["benchmarks/RESULTS.md"]
