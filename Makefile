# make quickstart   train, evaluate, sample and serve a first model (about 6 minutes)
# make test         the tests, in less than 10 minutes on two cores
# make thorough     those of further models, those that take long, those that an upgrade alone can change
# make check        lint, format, types
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEXTGEN := $(BIN)/python -m tf_textgen
RECIPE := experiments/language_model/quickstart.flags
PROMPTS := --prompt='The for statement' --prompt='A function call' --prompt='If an exception'

.PHONY: quickstart test thorough check clean
.DELETE_ON_ERROR:

quickstart: $(VENV)/installed
	$(TEXTGEN) build_vocab --flagfile=$(RECIPE) --tokenizer.dir=runs/quickstart_tokenizer
	$(TEXTGEN) train --flagfile=$(RECIPE) --tokenizer.dir=runs/quickstart_tokenizer
	$(TEXTGEN) evaluate --run.dir=runs/quickstart --split=test
	@printf '\n--- the run continues three prompts ---\n'
	$(TEXTGEN) generate --run.dir=runs/quickstart $(PROMPTS) >runs/quickstart/continuations.txt
	@cat runs/quickstart/continuations.txt
	$(TEXTGEN) export --run.dir=runs/quickstart --export.dir=saved_models/quickstart
	@printf '\n--- the export continues them in a fresh process ---\n'
	$(TEXTGEN) generate --saved_model=saved_models/quickstart $(PROMPTS) >runs/quickstart/served.txt
	@cat runs/quickstart/served.txt
	@cmp runs/quickstart/continuations.txt runs/quickstart/served.txt && printf '\nThe export gives the same texts, byte for byte.\n'
	@printf 'next:\n  watch:  %s\n  serve:  %s\n  try:    %s\n' \
	  '$(BIN)/tensorboard --logdir=runs/quickstart/logs' \
	  'tensorflow_model_server --rest_api_port=8501 --rest_api_num_threads=128 --model_name=quickstart --model_base_path=$(CURDIR)/saved_models/quickstart' \
	  '$(TEXTGEN) generate --run.dir=runs/quickstart --prompt="Your own beginning"'

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

thorough: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --thorough -m thorough

check: $(VENV)/installed-dev
	$(BIN)/ruff check tf_textgen tests
	$(BIN)/ruff format --check tf_textgen tests
	$(BIN)/mypy tf_textgen

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python >= 3.10 is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test,dev]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
