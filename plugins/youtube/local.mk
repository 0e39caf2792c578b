# SPDX-License-Identifier: Apache-2.0
youtube_sources = plugins/youtube/youtube.h plugins/youtube/youtube.c plugins/youtube/sources.c \
	plugins/youtube/operations.c plugins/youtube/tables.c plugins/youtube/flows.c

pkgplugin_LTLIBRARIES += plugins/youtube/youtube.la
plugins_youtube_youtube_la_SOURCES = $(youtube_sources)
plugins_youtube_youtube_la_LDFLAGS = $(MODULE_FLAGS)
plugins_youtube_youtube_la_LIBADD = plugins/lib/libplugin.la
dist_man_MANS += plugins/youtube/sluice-youtube.7
