# SPDX-License-Identifier: Apache-2.0
# Built by tests/system/test_example.py, as somebody outside the tree would build it.
EXTRA_DIST += examples/weather/weather.c
