"""How `make docs` writes the reference of what is used as a library, from the docstrings."""

from __future__ import annotations

from consumer import __version__

project = "anythingllm-consumer"
author = ""
copyright = ""
release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "alabaster"
html_theme_options = {
    "description": "Its client for AnythingLLM, and what it has for publishers and readers",
    "fixed_sidebar": True,
    "page_width": "70rem",
    "show_powered_by": False,
}
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False

# The docstrings are plain text with `names` in it.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_preprocess_types = False
napoleon_attr_annotations = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
