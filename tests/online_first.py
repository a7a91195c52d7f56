"""helpers believes to be online; nothing is looked for outside all the same."""

import os

import helpers  # noqa: F401, reads COURSE_ONLINE and then never again

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
