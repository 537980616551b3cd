# make demo   the race of Figure 2 and the tiny GPT, into out/
# make test   every test that needs no GPU and no optional framework
# make lint   ruff and mypy
# make clean  back to what git holds
#
# The first call makes .venv; it is made anew when pyproject.toml changes.
# PYTHON=python3.12 chooses another interpreter (with uv: UV_PYTHON=3.12).

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

ifneq ($(shell command -v uv 2>/dev/null),)
make_venv = uv venv .venv
install = uv pip install --python .venv/bin/python
else
# Where Python lacks ensurepip (Debian without python3-venv), .venv stays without pip and the system's pip fills it from outside.
make_venv = $(PYTHON) -m venv .venv >/dev/null 2>&1 || { rm -rf .venv && $(PYTHON) -m venv --without-pip .venv; }
install = $$(test -e .venv/bin/pip && echo .venv/bin/python -m pip || echo $(PYTHON) -m pip --python .venv/bin/python) install
endif

# The stamps are written last: a set-up that fails half-way leaves none, and the next call starts over.
.venv/runtime: pyproject.toml
	@echo "Setting up .venv. This takes about a minute, once."
	@rm -rf .venv
	@$(make_venv)
	@$(install) -e .
	@touch $@

.venv/test: .venv/runtime
	@echo "Adding the test tools to .venv."
	@rm .venv/runtime
	@$(install) -e '.[test]'
	@touch .venv/runtime $@
