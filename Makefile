# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Property tests have the same examples every time: a change alone makes them fail. To look for new
# examples: make unit HYPOTHESIS_PROFILE=random
export HYPOTHESIS_PROFILE ?= fixed
# Keep compiled modules: without them, each of many processes compiles what it loads.
unexport PYTHONDONTWRITEBYTECODE

# The other tests need nothing but Python, its packages and a POSIX shell with its usual programs.
PLAIN := not nix and not runtime and not tools

.PHONY: help demo test lint types unit quick coverage bench bench-picture bench-layers docs format clean

help:
	@echo 'make demo         build an image of a real closure; load and run it if Docker or Podman answers'
	@echo 'make test         install what is missing, then ruff, mypy and the whole test suite'
	@echo 'make unit         the tests that need neither Nix nor a container runtime, without slow ones'
	@echo 'make quick        fewer of them, with few examples: to run while you edit'
	@echo 'make newer-nix    the tests of the Nix library with newer versions of Nix, which Debian has'
	@echo 'make newer-docker the tests of loads with newer versions of Docker, which Debian has'
	@echo 'make newer-podman the tests of layers fetched in part with newer versions of Podman'
	@echo 'make coverage     measure which lines and branches the unit tests run'
	@echo 'make bench        measure, and print the figures as ratios to their targets and the last run'
	@echo 'make bench-picture measure, for the picture in docs/images, and draw it'
	@echo 'make bench-layers replay updates through every layering strategy'
	@echo 'make docs         build the documentation as a site, in build/site, and draw its pictures'
	@echo 'make format       format the code'

# The virtual environments are told apart by their stamps: the demo needs no developer tools.
# The native packer is built along with the package.
$(VENV)/demo.stamp: pyproject.toml hatch_build.py $(wildcard nixdock/native/*.[ch])
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nixdock needs Python 3.11 or newer, not %d.%d" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV) || { echo 'error: no venv module; on Debian: apt-get install python3-venv' >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/demo.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(VENV)/demo.stamp
	$(BIN)/nixdock demo -o demo.tar

test: tools $(VENV)/dev.stamp lint types
	$(PYTHON) tests/in_memory.py $(BIN)/pytest --numprocesses 2 --dist loadgroup
	$(MAKE) newer-nix-trixie newer-docker-trixie newer-podman-trixie

# The tests of the library's interface, with each Nix of these suites of Debian; as root.
NIX_SUITES := trixie sid
.PHONY: newer-nix $(NIX_SUITES:%=newer-nix-%)
newer-nix: $(NIX_SUITES:%=newer-nix-%)
$(NIX_SUITES:%=newer-nix-%): newer-nix-%: $(VENV)/dev.stamp
	$(BIN)/python -m tests.nix.newer $* $(BIN)/pytest -k 'not reproducible' \
		tests/images/test_library.py tests/images/test_argument_checks.py \
		tests/images/test_pull.py

# The tests of loads into Docker, with each Docker of these suites of Debian, which keeps images in
# containerd; as root.
DOCKER_SUITES := trixie
.PHONY: newer-docker $(DOCKER_SUITES:%=newer-docker-%)
newer-docker: $(DOCKER_SUITES:%=newer-docker-%)
$(DOCKER_SUITES:%=newer-docker-%): newer-docker-%: $(VENV)/dev.stamp
	$(BIN)/python -m tests.runtime.newer docker $* $(BIN)/pytest -k 'not [podman and not [containerd' \
		tests/runtime/test_loading.py tests/runtime/test_interrupts.py \
		tests/runtime/test_far_runtimes.py::test_a_daemon_elsewhere_gets_what_it_lacks

# The tests of layers that are fetched in part, with each Podman of these suites of Debian; as root.
PODMAN_SUITES := trixie
.PHONY: newer-podman $(PODMAN_SUITES:%=newer-podman-%)
newer-podman: $(PODMAN_SUITES:%=newer-podman-%)
$(PODMAN_SUITES:%=newer-podman-%): newer-podman-%: $(VENV)/dev.stamp
	$(BIN)/python -m tests.runtime.newer podman $* $(BIN)/pytest -k podman \
		tests/runtime/test_partial_pulls.py tests/images/test_partial_pulls.py

.PHONY: tools
tools:
	@$(PYTHON) tests/tools.py

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

unit: export HYPOTHESIS_PROFILE := brief
unit: $(VENV)/dev.stamp
	$(BIN)/pytest --numprocesses 2 -m '$(PLAIN) and not slow' tests/unit tests/manual

# The tests of the command line and of the documentation start processes, and these others start servers,
# or build whole images or file systems; `make unit` runs them.
NOT_QUICK := attach browse cli face index registry rootfs runtime signing transfer \
  stores/test_several.py write/test_image.py test_documentation.py test_public_face.py
quick: export HYPOTHESIS_PROFILE := quick
quick: $(VENV)/dev.stamp
	$(BIN)/pytest --numprocesses 2 -m '$(PLAIN) and not slow' $(NOT_QUICK:%=--ignore=tests/unit/%) tests/unit

# Of this process alone: child processes (the command line's tests, packing in several processes,
# scripts in namespaces) are not measured, so the floor is below what the tests really reach.
coverage: $(VENV)/dev.stamp
	$(BIN)/pytest --numprocesses 2 -m '$(PLAIN)' --cov --cov-report=term tests/unit

bench: $(VENV)/dev.stamp
	$(BIN)/python -m tests.bench

bench-picture: $(VENV)/dev.stamp
	$(BIN)/python -m tests.bench --record docs/images/bench.json
	$(BIN)/python -m tests.bench.picture

bench-layers: $(VENV)/dev.stamp
	$(BIN)/python -m tests.bench.layers

# Strict: a link or an anchor that leads nowhere is an error.
docs: $(VENV)/dev.stamp
	$(BIN)/python -m manual.pictures
	$(BIN)/python -m manual.site build
	PYTHONPATH=. $(BIN)/zensical build --config-file build/mkdocs.yml --clean --strict

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache demo.tar
