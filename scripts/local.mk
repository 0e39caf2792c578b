# SPDX-License-Identifier: Apache-2.0
dist_check_SCRIPTS += scripts/check-includes scripts/check-sizes
TESTS += scripts/check-includes scripts/check-sizes
dist_noinst_SCRIPTS += scripts/chdb scripts/deps scripts/test
EXTRA_DIST += .clang-format .editorconfig LICENSE
