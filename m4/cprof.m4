# SPDX-License-Identifier: Apache-2.0

m4_ifndef([PKG_CHECK_MODULES], [m4_fatal(
  [the macros of pkg-config are missing (Debian: pkg-config, Fedora: pkgconf-pkg-config)])])

# CPROF_TRY_FLAG(VARIABLE, FLAGS, IF-OK, [IF-NOT])
# Whether FLAGS in VARIABLE (CFLAGS or LDFLAGS) compile and link.
AC_DEFUN([CPROF_TRY_FLAG], [
  AC_MSG_CHECKING([whether $CC takes $2])
  cprof_save=$$1
  cprof_save_werror=$ac_c_werror_flag
  $1="$$1 $2"
  ac_c_werror_flag=yes
  AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [cprof_ok=yes], [cprof_ok=no])
  $1=$cprof_save
  ac_c_werror_flag=$cprof_save_werror
  AC_MSG_RESULT([$cprof_ok])
  AS_IF([test $cprof_ok = yes], [$3], [$4])
])

# CPROF_WANT_LIB(NAME, MODULE, DEFAULT-LIBS, HEADERS, BODY)
# Takes flags from pkg-config where it knows MODULE, else DEFAULT-LIBS, and
# links a program with them. Sets NAME_CFLAGS, NAME_LIBS, have_NAME.
AC_DEFUN([CPROF_WANT_LIB], [
  AC_REQUIRE([PKG_PROG_PKG_CONFIG])
  AC_ARG_VAR([$1_CFLAGS], [C compiler flags for ]m4_default([$2], [$3]))
  AC_ARG_VAR([$1_LIBS], [linker flags for ]m4_default([$2], [$3]))
  m4_ifval([$2], [PKG_CHECK_EXISTS([$2], [
    : "${$1_CFLAGS=`$PKG_CONFIG --cflags "$2"`}"
    : "${$1_LIBS=`$PKG_CONFIG --libs "$2"`}"
  ])])
  : "${$1_LIBS=$3}"
  AC_MSG_CHECKING([for m4_default([$2], [$3])])
  cprof_save_CPPFLAGS=$CPPFLAGS
  cprof_save_LIBS=$LIBS
  CPPFLAGS="$CPPFLAGS $$1_CFLAGS"
  LIBS="$$1_LIBS $LIBS"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([$4], [$5])], [have_$1=yes], [have_$1=no])
  CPPFLAGS=$cprof_save_CPPFLAGS
  LIBS=$cprof_save_LIBS
  AC_MSG_RESULT([$have_$1])
])

# CPROF_NEED_LIB(NAME, MODULE, DEFAULT-LIBS, HEADERS, BODY, SHOWN-NAME, DEBIAN, FEDORA)
AC_DEFUN([CPROF_NEED_LIB], [
  CPROF_WANT_LIB([$1], [$2], [$3], [$4], [$5])
  AS_IF([test "x$have_$1" != xyes], [CPROF_MISSING([$6], [$7], [$8])])
])

# CPROF_MISSING(WHAT, DEBIAN, FEDORA): notes it for CPROF_REPORT_MISSING.
AC_DEFUN([CPROF_MISSING], [
  cprof_missing="$cprof_missing $1"
  cprof_missing_debian="$cprof_missing_debian $2"
  cprof_missing_fedora="$cprof_missing_fedora $3"
])

AC_DEFUN([CPROF_REPORT_MISSING], [
  AS_IF([test -n "$cprof_missing"], [
    AS_IF([test -z "$PKG_CONFIG"], [CPROF_MISSING([pkg-config], [pkg-config], [pkgconf-pkg-config])])
    AC_MSG_ERROR([these are missing:$cprof_missing
  Debian, Ubuntu:  apt-get install$cprof_missing_debian
  Fedora:          dnf install$cprof_missing_fedora])
  ])
])

# CPROF_UNTESTED(WHAT, DEBIAN, FEDORA): notes in cprof_untested what cannot be
# tested, and what would help.
AC_DEFUN([CPROF_UNTESTED], [
  cprof_untested="$cprof_untested
  not tested   $1 (Debian: $2, Fedora: $3)"
])
