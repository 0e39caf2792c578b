# SPDX-License-Identifier: Apache-2.0
dist_check_SCRIPTS += scripts/check-contract scripts/check-includes scripts/check-sizes
TESTS += scripts/check-contract scripts/check-includes scripts/check-sizes
dist_check_SCRIPTS += scripts/check-man
if HAVE_MAN_LINT
TESTS += scripts/check-man
endif
dist_check_SCRIPTS += scripts/check-docs
if HAVE_TESTS
TESTS += scripts/check-docs
endif
dist_noinst_SCRIPTS += scripts/abi-store scripts/build scripts/chdb scripts/demo scripts/deps scripts/test
EXTRA_DIST += scripts/demo.yaml .clang-format .editorconfig LICENSE
