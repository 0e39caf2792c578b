# SPDX-License-Identifier: Apache-2.0
shopify_sources = plugins/shopify/shopify.c

pkgplugin_LTLIBRARIES += plugins/shopify/shopify.la
plugins_shopify_shopify_la_SOURCES = $(shopify_sources)
plugins_shopify_shopify_la_LDFLAGS = $(MODULE_FLAGS)
plugins_shopify_shopify_la_LIBADD = plugins/lib/libplugin.la
dist_man_MANS += plugins/shopify/sluice-shopify.7
