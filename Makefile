# make demo       the race of Figure 2 and the tiny GPT, into out/
# make test       every test that needs no GPU, no browser and no optional framework
# make test-web   the explorer and the annotated pages in Chromium, which must be installed
# make notebooks  the course in JupyterLab
# make test-notebooks  every notebook run again, its exercises solved, and compared with what is stored
# make annotated  the sources as pages of prose beside code, in out/annotated; SITE=../index.html links back to a site around
# make docs       the site, into out/site
# make test-docs  the site, every link of it, and its pages in Chromium, which must be installed
# make lite       the course in a browser without a server, into out/lite; RUNTIME=FOLDER takes compiled libraries from
#                 there, not from a CDN. Needs npm
# make test-lite  that site, in Node and in Chromium, which must be installed
# make test-ports the ports, and the dialects beside optax, PyTorch and what PyPI has of Sophia, in .venv-ports and
#                 .venv-ports-kozistr3
# make test-distributed  the ports on several processes and devices: DistributedDataParallel, FSDP2, jax.sharding; in .venv-ports
# make vectors    the conformance vectors, from their recipes; what was published stays
# make lint       ruff and mypy
# make bench      times beside PyTorch, JAX and autograd, in .venv-bench
# make gpu        on a machine with a GPU: the vectors and the times there, PyTorch's and CuPy's, in .venv-gpu
# make gpu-claims TEXT=FILE  the claims at 3 and 30 million parameters, on a GPU, for hours; goes on where it was stopped
# make clean      back to what git holds
#
# The first call makes .venv; it is made anew when pyproject.toml changes.
# PYTHON=python3.12 chooses another interpreter (with uv: UV_PYTHON=3.12).

PYTHON ?= python3
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test test-web test-ports test-distributed test-notebooks annotated docs test-docs lite test-lite vectors notebooks notebooks/all docs/explorer.png docs/dialects.md docs/glossary.md docs/certificates.md lint bench gpu gpu-claims clean

demo: .venv/runtime
	.venv/bin/sophia-ref demo

test: .venv/test
	.venv/bin/python -m pytest -n 2

test-web: .venv/web
	.venv/bin/python -m pytest -n 0 tests/web

notebooks: .venv/notebooks
	.venv/bin/jupyter lab --ServerApp.root_dir=. notebooks/00_start_here.ipynb

test-notebooks: .venv/notebooks
	.venv/bin/python -m pytest -n 2 tests/notebooks

notebooks/all: .venv/notebooks
	.venv/bin/python notebooks/build.py

# A warning fails the build. The annotated source becomes part of the site, and so does out/lite where that is there.
docs: .venv/docs
	.venv/bin/python -m sphinx -q -W --keep-going -c docs -d out/doctrees . out/site
	.venv/bin/python -m docs.annotated out/site/annotated --site ../docs/index.html
	@echo "out/site/index.html"

test-docs: .venv/docs .venv/web docs
	.venv/bin/python -m pytest -n 0 tests/site

lite: .venv/lite
	.venv/bin/python lite/build.py $(if $(RUNTIME),--runtime $(RUNTIME))

test-lite: .venv/lite .venv/web out/pyodide/ready lite
	.venv/bin/python lite/build.py --runtime out/pyodide --output out/lite-offline
	.venv/bin/python -m pytest -n 0 tests/lite

# Where a library is missing the tests fail: elsewhere they are skipped.
test-ports: .venv-ports/ready .venv-ports-kozistr3/ready
	SOPHIA_REF_PORTS=required .venv-ports/bin/python -m pytest tests/conformance/live tests/ports sophia_ref/ports
	SOPHIA_REF_PORTS=required .venv-ports-kozistr3/bin/python -m pytest tests/conformance/live/test_kozistr.py

test-distributed: .venv-ports/ready
	SOPHIA_REF_PORTS=required .venv-ports/bin/python -m pytest tests/distributed

annotated: .venv/test
	.venv/bin/python -m docs.annotated out/annotated $(if $(SITE),--site $(SITE))
	@echo "out/annotated/index.html"

vectors: .venv/runtime
	.venv/bin/python -m sophia_ref.conformance.recipes

docs/certificates.md: .venv-ports/ready
	.venv-ports/bin/python docs/make_certificates.py

docs/explorer.png: .venv/web
	.venv/bin/python tests/web/picture.py $@

docs/dialects.md: .venv/runtime
	.venv/bin/sophia-ref dialects --markdown > $@.tmp
	mv $@.tmp $@

docs/glossary.md: .venv/test
	.venv/bin/python -m docs.annotated --glossary $@

lint: .venv/test
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

bench: .venv-bench/ready
	@mkdir -p out
	.venv-bench/bin/python benchmarks/bench_gpt.py
	.venv-bench/bin/python benchmarks/bench_threads.py
	.venv-bench/bin/python benchmarks/bench_landscapes.py
	.venv-bench/bin/python benchmarks/bench_basins.py
	.venv-bench/bin/python benchmarks/bench_growth.py --output out/growth.png

gpu: .venv-gpu/ready
	.venv-gpu/bin/python benchmarks/gpu_step.py --picture out/gpu_step.png; stepped=$$?; \
	.venv-gpu/bin/python benchmarks/gpu_cupy.py && exit $$stepped

gpu-claims: .venv-gpu/ready
	.venv-gpu/bin/python benchmarks/gpu_claims.py $(if $(TEXT),--text $(TEXT))

clean:
	rm -rf .venv .venv-bench .venv-gpu .venv-ports .venv-ports-kozistr3 lite/node_modules out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

ifneq ($(shell command -v uv 2>/dev/null),)
make_venv = uv venv $(@D)
install = uv pip install --python $(@D)/bin/python
else
# Where Python lacks ensurepip (Debian without python3-venv), the folder stays without pip and the system's pip fills it from outside.
make_venv = $(PYTHON) -m venv $(@D) >/dev/null 2>&1 || { rm -rf $(@D) && $(PYTHON) -m venv --without-pip $(@D); }
install = $$(test -e $(@D)/bin/pip && echo $(@D)/bin/python -m pip || echo $(PYTHON) -m pip --python $(@D)/bin/python) install
endif

# The stamps are written last: a set-up that fails half-way leaves none, and the next call starts over.
.venv/runtime: pyproject.toml
	@echo "Setting up .venv. This takes about a minute, once."
	@rm -rf $(@D)
	@$(make_venv)
	@$(install) -e .
	@touch $@

.venv/test: .venv/runtime
	@echo "Adding the test tools to .venv."
	@rm .venv/runtime
	@$(install) -e '.[test]'
	@touch .venv/runtime $@

.venv/web: .venv/test
	@command -v chromium >/dev/null || { echo "make test-web: chromium is not on the PATH; on Debian, apt-get install chromium" >&2; exit 1; }
	@echo "Adding Playwright to .venv."
	@$(install) -e '.[web]'
	@touch $@

.venv/notebooks: .venv/test
	@echo "Adding Jupyter to .venv."
	@$(install) -e '.[notebooks]'
	@touch $@

.venv/docs: .venv/test
	@echo "Adding Sphinx to .venv."
	@$(install) -e '.[docs]'
	@touch $@

.venv/lite: .venv/test lite/package-lock.json
	@command -v npm >/dev/null || { echo "make lite: npm is not on the PATH; on Debian, apt-get install npm" >&2; exit 1; }
	@echo "Adding JupyterLite to .venv, and Pyodide to lite/node_modules."
	@$(install) -e '.[lite]'
	@npm ci --prefix lite --silent --no-audit --no-fund
	@touch $@

out/pyodide/ready: lite/runtime.py lite/package-lock.json | .venv/lite
	@echo "Getting the compiled wheels of Pyodide, 106 MB."
	@.venv/bin/python lite/runtime.py $(@D)
	@touch $@

.venv-bench/ready: pyproject.toml
	@echo "Setting up .venv-bench with PyTorch, JAX and autograd."
	@rm -rf $(@D)
	@$(make_venv)
	@$(install) -e '.[bench]'
	@touch $@

.venv-gpu/ready: pyproject.toml
	@echo "Setting up .venv-gpu with PyTorch and CuPy for CUDA."
	@rm -rf $(@D)
	@$(make_venv)
	@$(install) -e '.[gpu]'
	@touch $@

.venv-ports/ready: pyproject.toml
	@echo "Setting up .venv-ports with PyTorch, JAX, optax and what PyPI has of Sophia."
	@rm -rf $(@D)
	@$(make_venv)
	@$(install) -e '.[ports]'
	@$(install) --no-deps sophia-opt==0.2.2 Sophia-Optimizer==0.2.5 labml-nn==0.5.1
	@touch $@

.venv-ports-kozistr3/ready: pyproject.toml
	@echo "Setting up .venv-ports-kozistr3 with an older pytorch_optimizer."
	@rm -rf $(@D)
	@$(make_venv)
	@$(install) -e '.[ports-kozistr3]'
	@touch $@
