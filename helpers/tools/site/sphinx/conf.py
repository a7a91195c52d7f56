"""Settings of Sphinx; `helpers.tools.site.build` lays the pages beside this file."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent
COURSE = json.loads((HERE / "course.json").read_text("utf-8"))

project = "Pretrained models"
author = "the course's authors"
html_title = project
language = "en"
extensions = ["myst_nb", "helpers.tools.site.sphinx.extension"]
exclude_patterns = ["static/*"]

# The outputs are those of the committed notebooks.
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, object] = {}
nb_render_markdown_format = "myst"
nb_merge_streams = True
nb_code_prompt_show = "Show the solution"
nb_code_prompt_hide = "Hide the solution"
myst_enable_extensions = [
    "dollarmath",
    "attrs_block",
    "attrs_inline",
    "deflist",
    "tasklist",
]
myst_dmath_allow_labels = False
myst_heading_anchors = 4
myst_heading_slug_func = "helpers.tools.site.anchors.anchor"
myst_links_external_new_tab = False

html_search_language = "course"
html_search_scorer = str(HERE / "scorer.js")

html_theme = "sphinx_book_theme"
html_theme_options = {
    "home_page_in_toc": False,
    "show_toc_level": 2,
    "navbar_persistent": [],
    "footer_content_items": ["extra-footer.html"],
    "use_download_button": False,
    "use_fullscreen_button": False,
    "use_source_button": False,
    "use_issues_button": False,
    "use_repository_button": False,
    "toc_title": "On this page",
    "show_navbar_depth": 1,
    "logo": {"text": project},
    "extra_footer": COURSE["footer"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# Dark or light as the reader's system says, until a button is pressed.
html_context = {"default_mode": "auto"}
html_sidebars = {
    "**": ["navbar-logo.html", "search-button-field.html", "sbt-sidebar-nav.html"]
}
html_static_path = ["static"]
html_css_files = ["course.css"]
html_extra_path = ["extra"]
html_copy_source = False
html_show_sourcelink = False
# A page opened from disk may not read others, which the summaries would need.
html_show_search_summary = False
html_last_updated_fmt = None
html_domain_indices = False
html_use_index = False
