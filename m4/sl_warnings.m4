# SPDX-License-Identifier: Apache-2.0
# The one list of warnings: sets WARN_CFLAGS and WARN_CXXFLAGS, and --enable-werror.

AC_DEFUN([SL_ADD_FLAG], [
	AS_VAR_PUSHDEF([sl_cache], [sl_cv_[]_AC_LANG_ABBREV[]_$2])
	AC_CACHE_CHECK([whether the _AC_LANG compiler knows $2], [sl_cache], [
		sl_save="$_AC_LANG_PREFIX[]FLAGS"
		_AC_LANG_PREFIX[]FLAGS="$sl_save -Werror $2"
		AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
			[AS_VAR_SET([sl_cache], [yes])], [AS_VAR_SET([sl_cache], [no])])
		_AC_LANG_PREFIX[]FLAGS="$sl_save"])
	AS_VAR_IF([sl_cache], [yes], [$1="$$1 $2"])
	AS_VAR_POPDEF([sl_cache])])

AC_DEFUN([SL_WARNINGS], [
	AC_ARG_ENABLE([werror],
		[AS_HELP_STRING([--enable-werror], [make warnings fatal (for developers; never in a release)])],
		[], [enable_werror=no])
	WARN_CFLAGS=
	WARN_CXXFLAGS=
	AC_LANG_PUSH([C])
	m4_foreach_w([flag], [-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
		-Wmissing-declarations -Wold-style-definition -Wpointer-arith -Wwrite-strings -Wformat=2
		-Wvla -Wundef -Wnested-externs -Wredundant-decls -Wimplicit-fallthrough
		-Wno-missing-field-initializers -Wno-unused-parameter],
		[SL_ADD_FLAG([WARN_CFLAGS], flag)])
	AC_LANG_POP([C])
	AC_LANG_PUSH([C++])
	m4_foreach_w([flag], [-Wall -Wextra -Wshadow -Wpointer-arith -Wwrite-strings -Wformat=2
		-Wvla -Wundef -Wno-missing-field-initializers -Wno-unused-parameter],
		[SL_ADD_FLAG([WARN_CXXFLAGS], flag)])
	AC_LANG_POP([C++])
	AS_IF([test "x$enable_werror" = xyes], [
		WARN_CFLAGS="$WARN_CFLAGS -Werror"
		WARN_CXXFLAGS="$WARN_CXXFLAGS -Werror"])
	AC_SUBST([WARN_CFLAGS])
	AC_SUBST([WARN_CXXFLAGS])])

# --enable-sanitizers: address and undefined behaviour, for every object and program.
AC_DEFUN([SL_SANITIZERS], [
	AC_ARG_ENABLE([sanitizers],
		[AS_HELP_STRING([--enable-sanitizers], [build with AddressSanitizer and UBSan])],
		[], [enable_sanitizers=no])
	SANITIZE_FLAGS=
	AS_IF([test "x$enable_sanitizers" = xyes],
		[SANITIZE_FLAGS="-fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined -fno-omit-frame-pointer"])
	AC_SUBST([SANITIZE_FLAGS])
	AM_CONDITIONAL([SANITIZERS], [test "x$enable_sanitizers" = xyes])])
