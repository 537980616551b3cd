# make demo   the race of Figure 2 and the tiny GPT, into out/
# make test   every test that needs no GPU and no optional framework
# make lint   ruff and mypy
# make clean  back to what git holds
#
# The first call makes .venv; it is made anew when pyproject.toml changes. PYTHON=python3.12 chooses another interpreter.

PYTHON ?= python3
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test lint clean

demo: .venv/runtime
	.venv/bin/sophia-ref demo

test: .venv/test
	.venv/bin/python -m pytest -n 2

lint: .venv/test
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

clean:
	rm -rf .venv out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The two stamps are files inside .venv, written last: an interrupted set-up leaves none, and the next call starts over.
ifneq ($(shell command -v uv 2>/dev/null),)
make_venv = uv venv .venv
install = uv pip install --python .venv/bin/python
else
# A Python without ensurepip (Debian's, without python3-venv) makes a .venv without pip; its own pip then installs from outside.
make_venv = $(PYTHON) -m venv .venv >/dev/null 2>&1 || { rm -rf .venv && $(PYTHON) -m venv --without-pip .venv; }
install = if [ -e .venv/bin/pip ]; then set -- .venv/bin/python -m pip; \
	else set -- $(PYTHON) -m pip --python .venv/bin/python; fi && "$$@" install
endif

.venv/runtime: pyproject.toml
	@echo "Setting up .venv: this takes a minute, once."
	@rm -rf .venv
	@$(make_venv)
	@$(install) -e .
	@touch $@

.venv/test: .venv/runtime
	@$(install) -e '.[test]'
	@touch $@
