# Thin: each line runs what a person could type. PYTHON=python3.12 chooses another Python.
export PYTHON ?= python3
export VENV ?= .venv
BIN := $(VENV)/bin
DURATION ?= 20

.PHONY: help demo test test-export test-kilted check clean

help:
	@echo "make demo [SOURCE=video|folder|bag|camera index] [TOPIC=/image] [DURATION=20] [MODEL=name]"
	@echo "make test    every test, real DDS between real processes included"
	@echo "make test-export   every network of the papers through ONNX, label by label (make test takes one of each paper)"
	@echo "make test-kilted   the node's tests with the next ROS 2 distribution, in .venv-kilted"
	@echo "make check   ruff and mypy"
	@echo "make clean   remove $(VENV) and what was made"

demo:
	@tools/environment demo
	@$(BIN)/seg-node demo $(if $(SOURCE),"$(SOURCE)") --duration $(DURATION) $(if $(TOPIC),--topic "$(TOPIC)") $(if $(MODEL),--model "$(MODEL)")

test:
	@tools/environment test
	@PYTHONUNBUFFERED=1 $(BIN)/python -m pytest $(ARGS)

test-export:
	@tools/environment test
	@SEG_NODE_EVERY_EXPORT=1 PYTHONUNBUFFERED=1 $(BIN)/python -m pytest test/test_every_network.py -k onnx $(ARGS)

test-kilted: export VENV = .venv-kilted
test-kilted: export ROS_WHEELS = kilted
test-kilted:
	@tools/environment node
	@PYTHONUNBUFFERED=1 .venv-kilted/bin/python -m pytest test/ros $(ARGS)

check:
	@tools/environment test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean:
	rm -rf $(VENV) build install log demo_out .pytest_cache .mypy_cache .ruff_cache *.egg-info
