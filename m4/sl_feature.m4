# SPDX-License-Identifier: Apache-2.0

# SL_FEATURE(name, help, FOUND-TEST): --enable-NAME=auto|yes|no, sets sl_have_NAME and a conditional HAVE_NAME.
AC_DEFUN([_SL_FEATURE], [
	AC_ARG_ENABLE([$1], [AS_HELP_STRING([--enable-$1=auto|yes|no], [$2 @<:@auto@:>@])],
		[], [m4_translit([enable_$1], [-], [_])=auto])
	m4_translit([sl_have_$1], [-], [_])=no
	AS_CASE([$m4_translit([enable_$1], [-], [_])],
		[no], [],
		[auto|yes], [
			$3
			AS_IF([test "x$m4_translit([enable_$1], [-], [_])$m4_translit([sl_have_$1], [-], [_])" = xyesno],
				[AC_MSG_ERROR([--enable-$1: $4 is missing])])],
		[AC_MSG_ERROR([--enable-$1 takes auto, yes or no])])
	AM_CONDITIONAL(m4_translit([HAVE_$1], [-a-z], [_A-Z]),
		[test "x$m4_translit([sl_have_$1], [-], [_])" = xyes])])

# SL_FEATURE_PKG(name, help, VARIABLE, pkg-config module)
AC_DEFUN([SL_FEATURE_PKG], [
	_SL_FEATURE([$1], [$2],
		[PKG_CHECK_MODULES([$3], [$4], [m4_translit([sl_have_$1], [-], [_])=yes],
			[m4_translit([sl_have_$1], [-], [_])=no])], [$4])])

# SL_FEATURE_PROG(name, help, VARIABLE, program)
AC_DEFUN([SL_FEATURE_PROG], [
	_SL_FEATURE([$1], [$2],
		[AC_PATH_PROG([$3], [$4], [], [/usr/bin:$PATH])
		AS_IF([test -n "$$3"], [m4_translit([sl_have_$1], [-], [_])=yes])], [$4])])
