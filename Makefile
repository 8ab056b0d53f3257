# Thin: each line runs what a person could type. PYTHON=python3.12 chooses another Python.
export PYTHON ?= python3
export VENV ?= .venv
BIN := $(VENV)/bin
DURATION ?= 20
# what a robot's Python runs
ROBOT := setup.py launch scripts $(addprefix seg_node/,*.py pipeline runtimes networks ros)

.PHONY: help demo bench bench-quick bench-score bench-loading test test-export test-recipes test-kilted test-robot test-py36 check clean

help:
	@echo "make demo [SOURCE=video|folder|bag|camera index] [TOPIC=/image] [DURATION=20] [MODEL=name]"
	@echo "make test    every test, real DDS between real processes included"
	@echo "make test-export   every network of the papers through ONNX, label by label (make test takes one of each paper)"
	@echo "make test-recipes  two steps of every recipe (make test takes one of each kind)"
	@echo "make test-kilted   the node's tests with the next ROS 2 distribution, in .venv-kilted"
	@echo "make test-robot    what runs on a robot under Python 3.6, 3.8, 3.10 and 3.12, those that are here (pyenv's too)"
	@echo "make test-py36     the same under Python 3.6 alone, a Jetson TX2's"
	@echo "make bench [ARGS='node tutorial']   everything that has a goal, measured in an hour and a half; bench/README.md"
	@echo "make bench-quick   the same in two minutes, with few frames"
	@echo "make check   ruff, vermin (what Python 3.6 does not have) and mypy"
	@echo "make clean   remove $(VENV), .venv-py* and what was made"

demo:
	@tools/environment demo
	@$(BIN)/seg-node demo $(if $(SOURCE),"$(SOURCE)") --duration $(DURATION) $(if $(TOPIC),--topic "$(TOPIC)") $(if $(MODEL),--model "$(MODEL)")

test:
	@tools/environment test
	@PYTHONUNBUFFERED=1 $(BIN)/python -m pytest $(ARGS)

test-recipes:
	@tools/environment test
	@SEG_NODE_EVERY_RECIPE=1 PYTHONUNBUFFERED=1 $(BIN)/python -m pytest test/training/test_every_recipe.py $(ARGS)

test-export:
	@tools/environment test
	@tools/test-robot 3.6 -- -q --collect-only >/dev/null # its environment: the graphs for a TX2 are run there
	@SEG_NODE_EVERY_EXPORT=1 PYTHONUNBUFFERED=1 $(BIN)/python -m pytest test/test_every_network.py -k onnx $(ARGS)

test-kilted: export VENV = .venv-kilted
test-kilted: export ROS_WHEELS = kilted
test-kilted:
	@tools/environment node
	@PYTHONUNBUFFERED=1 .venv-kilted/bin/python -m pytest test/ros $(ARGS)

test-robot:
	@tools/test-robot $(if $(ARGS),-- $(ARGS))

test-py36:
	@tools/test-robot 3.6 $(if $(ARGS),-- $(ARGS))

bench:
	@tools/environment test
	@$(BIN)/python -m bench $(ARGS)

bench-quick:
	@tools/environment test
	@$(BIN)/python -m bench --quick $(ARGS)

bench-score:
	@$(MAKE) --no-print-directory bench ARGS="evaluation $(ARGS)"

bench-loading:
	@$(MAKE) --no-print-directory bench ARGS="loading $(ARGS)"

check:
	@tools/environment test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/vermin --quiet --no-tips --violations --eval-annotations --target=3.6- $(ROBOT)
	@$(BIN)/mypy

clean:
	rm -rf $(VENV) .venv-py* build install log demo_out .pytest_cache .mypy_cache .ruff_cache *.egg-info
