# SPDX-License-Identifier: Apache-2.0

AC_DEFUN([SL_REQUIRE_C11], [
	AS_IF([test "x$ac_cv_prog_cc_c11" = xno || test "x$ac_prog_cc_stdc" != xc11],
		[AC_MSG_ERROR([the C compiler does not know C11])])])

# C++ is used for JSON reading only. A program that holds core/libcore.a is
# linked by the C compiler and needs the C++ runtime: CXX_LIBS.
AC_DEFUN([SL_REQUIRE_CXX17], [
	AC_ARG_VAR([CXX_LIBS], [the C++ runtime, for linking with the C compiler @<:@-lstdc++@:>@])
	AC_LANG_PUSH([C++])
	AC_CACHE_CHECK([how the C++ compiler is told to take C++17], [sl_cv_cxx17], [
		sl_cv_cxx17=no
		sl_save="$CXX"
		for flag in "" -std=gnu++17; do
			CXX="$sl_save $flag"
			AC_COMPILE_IFELSE([AC_LANG_SOURCE([
#if __cplusplus < 201703L
#error too old
#endif
#include <string_view>
std::string_view text;
				])], [sl_cv_cxx17="${flag:-nothing needed}"; break])
		done
		CXX="$sl_save"])
	AS_CASE([$sl_cv_cxx17],
		[no], [AC_MSG_ERROR([the C++ compiler does not know C++17])],
		[-*], [CXX="$CXX $sl_cv_cxx17"])
	AC_LANG_POP([C++])
	AC_CACHE_CHECK([what links the C++ runtime], [sl_cv_cxx_libs], [
		sl_cv_cxx_libs="${CXX_LIBS--lstdc++}"])
	CXX_LIBS="$sl_cv_cxx_libs"])
