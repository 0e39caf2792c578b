# SPDX-License-Identifier: Apache-2.0
instagram_sources = plugins/instagram/instagram.h plugins/instagram/instagram.c plugins/instagram/sources.c \
	plugins/instagram/profile.c plugins/instagram/posts.c plugins/instagram/tables.c plugins/instagram/flows.c

pkgplugin_LTLIBRARIES += plugins/instagram/instagram.la
plugins_instagram_instagram_la_SOURCES = $(instagram_sources)
plugins_instagram_instagram_la_LDFLAGS = $(MODULE_FLAGS)
plugins_instagram_instagram_la_LIBADD = plugins/lib/libplugin.la
dist_man_MANS += plugins/instagram/sluice-instagram.7
