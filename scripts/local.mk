# SPDX-License-Identifier: Apache-2.0
dist_check_SCRIPTS += scripts/check-contract scripts/check-includes scripts/check-sizes
TESTS += scripts/check-contract scripts/check-includes scripts/check-sizes
dist_check_SCRIPTS += scripts/check-man
if HAVE_MAN_LINT
TESTS += scripts/check-man
endif
dist_noinst_SCRIPTS += scripts/chdb scripts/deps scripts/test
EXTRA_DIST += .clang-format .editorconfig LICENSE
