# make demo · make test · make check · make docs · make bench · make gpu
# Everything but `make gpu` is installed into .venv; PYTHON chooses the interpreter (3.11 to 3.13), TORCH_INDEX
# another package index for torch (PyTorch has one of CPU builds, which are far smaller).

PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

# what a machine with a GPU often lacks, and the Python that it has
GPU_PYTHON ?= 3.12
GPU_WHEELS := annotated-types datasets dill httpcore2 httpx2 multiprocess pydantic pydantic_core \
	trl truststore typing-inspection

.PHONY: demo test check format docs bench gpu gpu-wheels clean

demo: .venv/installed  ## three experiments, a table, a page and a picture in demo/
	$(BIN)/python -m dgrpo.demo

test: .venv/installed-dev  ## the whole suite
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: .venv/installed-dev  ## format, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed  ## the reference page of every plug-in and setting: docs/reference.md
	$(BIN)/python docs/make_reference.py

bench: .venv/installed-dev  ## ratios to TRL, and what decoding, screening and the sandbox cost
	$(BIN)/python benchmarks/round_vs_trl.py
	$(BIN)/python benchmarks/decoding.py
	$(BIN)/python benchmarks/seeded_sampling.py
	$(BIN)/python benchmarks/sandbox.py

gpu:  ## what only a GPU can show, in 8 minutes: the machine's own python3, nothing is installed
	$(PYTHON) benchmarks/gpu.py $(if $(wildcard .gpu-wheels/*.whl),--wheels .gpu-wheels) $(GPU)

gpu-wheels:  ## wheels for a GPU machine without network: take .gpu-wheels along
	$(PYTHON) -m pip download --quiet --no-deps --only-binary=:all: -c constraints.txt \
		--python-version $(GPU_PYTHON) --implementation cp --platform manylinux2014_x86_64 \
		--platform manylinux_2_17_x86_64 --dest .gpu-wheels $(GPU_WHEELS)

# torch first and alone: on machines without a GPU an index may offer a CPU build under the exact version
.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==$$(sed -n 's/^torch==//p' constraints.txt)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all]"
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all,dev]"
	touch $@

clean:
	rm -rf .venv .gpu-wheels demo build dist
