# Every target sets up what it needs; `make` alone lists them.
NB ?=
VARIANT :=
ARGS ?=
PYTHON ?=
PY := .venv/bin/python
# A new name, and so a new installation, when the pins, the package or the folder change.
STAMP := .venv/.installed-$(shell (cat requirements.txt pyproject.toml; pwd) | cksum | cut -d' ' -f1)
# Site and slides are built by packages of their own, apart from the course's.
DOCS_PY := .venv-docs/bin/python
DOCS_STAMP := .venv-docs/.installed-$(shell (cat requirements-docs.txt 2>/dev/null; pwd) | cksum | cut -d' ' -f1)
# A .venv whose Python is gone, after an upgrade for example, is made anew.
ifneq ($(shell $(PY) -c 'print("runs")' 2>/dev/null),runs)
.PHONY: $(STAMP)
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0

.PHONY: help lab test check run progress refresh lint fetch doctor student teacher site slides bench pins clean
.DEFAULT_GOAL := help

help: ## show this list
	@echo "make lab opens the course, make test proves it. All commands:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | \
	  while IFS='|' read -r name what; do printf '%-16s%s\n' "$$name" "$$what"; done

lab: $(STAMP) ## install, fetch models and data, open JupyterLab (ARGS="--port=9000")
	@$(PY) -m helpers lab $(ARGS)

test: $(DOCS_STAMP) ## install, fetch, check, and run all notebooks strictly (VARIANT=avx2)
	@$(PY) -m helpers test $(if $(VARIANT),--variant $(VARIANT))

check: $(STAMP) ## style, types, notebook lint and unit tests, without notebooks
	@$(PY) -m helpers check

run: $(STAMP) ## execute one notebook here and print its results (NB=09)
	@test -n "$(NB)" || { echo "Say which notebook: make run NB=09"; exit 2; }
	@$(PY) -m helpers run $(NB)

progress: $(STAMP) ## show which exercises you solved (ARGS="--sheet FILE", "--forget")
	@$(PY) -m helpers progress $(ARGS)

refresh: $(STAMP) ## execute notebooks, save outputs and ranges (NB=09, or all)
	@$(PY) -m helpers refresh $(NB) $(ARGS)

lint: $(STAMP) ## check notebooks against the house rules (NB=09, or all)
	@$(PY) -m helpers lint $(NB)

fetch: $(STAMP) ## fetch what is missing of the models and data (ARGS="--from DIR")
	@$(PY) -m helpers fetch $(ARGS)

site: $(DOCS_STAMP) ## build the web site into build/site; it opens from disk
	@$(PY) -m helpers site

slides: $(DOCS_STAMP) ## build a deck a notebook into build/slides (NB=09, or all)
	@$(PY) -m helpers slides $(NB)

doctor: $(STAMP) ## check this machine and say how to fix faults
	@$(PY) -m helpers doctor

student: $(STAMP) ## build/student and a zip file: the course without solutions
	@$(PY) -m helpers student

teacher: $(STAMP) ## build/teacher and a zip file: solutions open, notes, a guide
	@$(PY) -m helpers teacher

bench: $(STAMP) ## measure, and print tables of paired ratios (ARGS="NAME")
	@$(PY) -m benchmarks $(ARGS)

# Tries each name by running it: some are placeholders that only print an error.
FIND_PYTHON = base=; for name in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do \
	if "$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	>/dev/null 2>&1; then base=$$name; break; fi; done; \
	if [ -z "$$base" ]; then \
	echo "Python 3.11, 3.12 or 3.13 is needed and was not found. Install it, or name it:" >&2; \
	echo "  make lab PYTHON=/path/to/python3.11" >&2; exit 1; fi

# A step that failed can be repeated: what is complete is kept, what is broken is made anew.
$(STAMP):
	@if ! $(PY) -c 'import sys, pip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	  >/dev/null 2>&1; then \
	  $(FIND_PYTHON); \
	  echo "Creating .venv with $$("$$base" --version)"; \
	  "$$base" -m venv --clear .venv >/dev/null 2>&1 || { \
	    "$$base" -m venv --clear --without-pip .venv && \
	    "$$base" -m pip --python .venv/bin/python install -q pip; } || { \
	    echo "Could not create .venv; on Debian and Ubuntu: apt install python3-venv" >&2; \
	    exit 1; }; \
	fi
	@rm -f .venv/.installed-*
	@for info in .venv/lib/python3*/site-packages/*.dist-info; do \
	  if [ -d "$$info" ] && [ ! -s "$$info/INSTALLER" ]; then rm -r "$$info"; fi; done
	@echo "Installing the packages of requirements.txt (a few minutes the first time)"
	@$(PY) -m pip install -r requirements.txt
	@$(PY) -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

# A prerequisite of what is built with Sphinx or reveal.js.
$(DOCS_STAMP): $(STAMP)
	@echo "Installing the packages of requirements-docs.txt in .venv-docs (a minute)"
	@$(PY) -m venv --clear --without-pip .venv-docs
	@$(PY) -m pip --python $(DOCS_PY) install -q -r requirements-docs.txt
	@touch $@

pins: ## rewrite requirements.txt from the ranges in pyproject.toml
	@$(FIND_PYTHON); folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	"$$base" -m venv "$$folder/venv" && "$$folder/venv/bin/python" -m pip install -q uv && \
	"$$folder/venv/bin/uv" pip compile -q --universal --python-version 3.11 --no-header \
	  --no-annotate --extra test pyproject.toml > "$$folder/pins" && \
	{ sed -n '/^#/p' requirements.txt; cat "$$folder/pins"; } > "$$folder/new" && \
	cat "$$folder/new" > requirements.txt && echo "requirements.txt is new; run make test"

clean: ## remove caches of tools; .venv and the fetched assets stay
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build
	@find helpers tests notebooks benchmarks -type d \
	  \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} + 2>/dev/null; true
